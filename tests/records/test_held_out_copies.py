"""A row that a spec trains on several times is held out once; answers to two rows of one id stay apart."""

import json

import pytest

from engine.records.events import ProbeAnswer, ProbeResult
from engine.records.prompt_files import read_source
from engine.records.prompts import select, told_once
from engine.records.spec_parts import DataSpec


def rows_of(path, name, split, count=4):
    return [{"id": str(n), "prompt": f"{name} {split} {n}", "split": split} for n in range(count)]


@pytest.mark.parametrize("split", ["validation", "test"])
def test_copies_are_drawn_in_training_alone(tmp_path, split):
    path = tmp_path / "rows.jsonl"
    rows = [row for one in ("train", split) for row in rows_of(path, "Say", one)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    prompts = read_source(f"{path} times=3", label="harmful")
    data = DataSpec(heldout_rows=3)
    trained = select(prompts, data, label="harmful", split="train", seed=0)
    held = select(prompts, data, label="harmful", split=split, seed=0)
    assert len(trained) == 12 and len({prompt.text for prompt in trained}) == 4
    assert len(held) == 3 == len({prompt.text for prompt in held}), "three rows, not one row thrice"
    more = select(prompts, data.model_copy(update={"heldout_rows": 0}), label="harmful", split=split, seed=0)
    assert len(more) == 4


def test_answers_of_two_rows_with_one_id_stay_apart_and_copies_are_one():
    def said(label, prompt, answer):
        return ProbeAnswer(prompt_id="1", label=label, prompt=prompt, answer=answer)

    twice = said("harmful", "a", "x")
    answers = (twice, twice, said("harmful", "b", "y"), said("benign", "a", "z"))
    found = ProbeResult(step=1, answers=answers).by_request
    assert [one.answer for one in found.values()] == ["x", "y", "z"]


def test_of_copies_one_is_looked_at_and_two_rows_of_one_text_both(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [*rows_of(path, "Say", "train", 2), {"id": "again", "prompt": "Say train 0", "split": "train"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    prompts = read_source(f"{path} times=3", label="harmful")
    assert len(prompts) == 9
    assert [prompt.id for prompt in told_once(prompts)] == ["0", "1", "again"]
