"""A source that is answered by refusals: the same one each time, kept whatever a spec says of answers, never twice."""

import json

import pytest
from making import drain

from engine.compute.training.pairs import elicit
from engine.records.errors import DataError
from engine.records.prompt_files import read_source
from engine.records.refusals import REFUSALS, refusal_for
from engine.records.sources import parse_sources
from engine.records.spec_parts import DataSpec


def test_each_request_has_its_own_refusal_and_all_are_used():
    asked = [f"request {number}" for number in range(200)]
    assert [refusal_for(one) for one in asked] == [refusal_for(one) for one in asked]
    assert {refusal_for(one) for one in asked} == set(REFUSALS)


def test_a_retain_set_may_hold_refusals_of_the_training_requests_alone():
    text = "sample:benign rows=40; sample:harmful keep=split:train take=random rows=30 answered=refusal part=train"
    prompts = read_source(text, label="benign")
    refused = [prompt for prompt in prompts if prompt.keeps_answer]
    assert len(refused) == 30 and {prompt.split for prompt in refused} == {"train"}
    assert all(prompt.label == "benign" and prompt.answer in REFUSALS for prompt in refused)
    trained = {p.text for p in read_source("sample:harmful", label="harmful") if p.split == "train"}
    assert {prompt.text for prompt in refused} <= trained
    assert not any(prompt.answer for prompt in prompts if not prompt.keeps_answer)


def test_another_word_for_the_answer_is_refused_with_what_it_may_be():
    with pytest.raises(DataError, match=r"'answered=maybe' of the source 'x.jsonl' cannot be"):
        parse_sources("x.jsonl answered=maybe")


def test_the_model_answers_the_others_and_no_refusal_is_asked_or_remembered(tiny_model, tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"prompt": f"say {number}", "split": "train"}) + "\n" for number in range(4)))
    prompts = read_source(f"{file}; {file} answered=refusal", label="benign")
    data = DataSpec(new_tokens=4, opener_share=1.0, openers=("Yes:",))
    _, pairs = drain(elicit(tiny_model, prompts, data, answers_folder=tmp_path / "answers", seed=0))
    by_kind = {kept: [pair.answer for pair in pairs if pair.prompt.keeps_answer is kept] for kept in (False, True)}
    assert by_kind[True] == [refusal_for(f"say {number}") for number in range(4)]
    assert len(by_kind[False]) == 4 and all(answer.startswith("Yes:") for answer in by_kind[False])
    [cache] = (tmp_path / "answers").glob("*.jsonl")
    assert len(cache.read_text().splitlines()) == 4


def test_given_answers_are_kept_beside_those_that_a_model_makes(tmp_path):
    file = tmp_path / "given.jsonl"
    file.write_text('{"prompt": "one", "answer": "its own"}\n{"prompt": "two", "answer": "another"}\n')
    kept = read_source(f"{file} answered=given", label="benign")
    assert [(prompt.answer, prompt.keeps_answer) for prompt in kept] == [("its own", True), ("another", True)]
    assert not any(prompt.keeps_answer for prompt in read_source(str(file), label="benign"))
