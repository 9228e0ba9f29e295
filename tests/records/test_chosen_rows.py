"""What a run takes of its sources: held-out rows apart from training rows, answers that are there, options once."""

import json

import pytest

from engine.desk.starting import need_inputs
from engine.records.chosen_rows import chosen_rows, held_apart
from engine.records.errors import DataError
from engine.records.presets import preset_names, read_preset
from engine.records.prompt_files import missing_files, read_source
from engine.records.sources import needs_worker, parse_sources, sample_sources
from engine.records.spec_parts import DataSpec
from workbench.train.checks import SIDES, count_rows


def written(path, *rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def asking(text: str, split: str, **more) -> dict:
    return {"prompt": text, "split": split, **more}


@pytest.fixture
def twice(tmp_path) -> str:
    """Of two validation rows one, of two test rows both are asked in training too."""
    rows = [asking(text, "train") for text in "abc"]
    rows += [asking(text, split) for text, split in zip("axbc", ("validation",) * 2 + ("test",) * 2, strict=True)]
    return written(tmp_path / "twice.jsonl", *rows)


def test_what_is_trained_on_is_not_held_out_and_trained_on_all_the_same(twice):
    prompts = read_source(twice, label="harmful")
    chosen = chosen_rows(held_apart(prompts), DataSpec(), label="harmful", seed=0)
    texts = {split: sorted(prompt.text for prompt in rows) for split, rows in chosen.items()}
    assert texts == {"train": ["a", "b", "c"], "validation": ["x"]}
    assert chosen["train"] == chosen_rows(prompts, DataSpec(), label="harmful", seed=0)["train"]


def test_what_another_source_of_the_side_trains_on_is_not_held_out(twice, tmp_path):
    more = written(tmp_path / "more.jsonl", asking("x", "test"), asking("y", "validation"))
    prompts = held_apart(read_source(f"{twice}; {more} part=train", label="harmful"))
    assert {prompt.split for prompt in prompts} == {"train"} and len(prompts) == 5


def test_conversations_that_end_alike_are_held_apart_and_the_same_one_is_not(tmp_path):
    def talk(first: str, split: str) -> dict:
        return {
            "messages": [{"role": "system", "content": first}, {"role": "user", "content": "Go on."}],
            "split": split,
        }

    source = written(tmp_path / "a.jsonl", talk("a", "train"), talk("b", "test"), talk("a", "test"))
    prompts = read_source(source, label="benign")
    assert held_apart(prompts) == prompts[:2]


@pytest.mark.parametrize(
    "source", [one for one in sample_sources() if one.startswith(("sample:", "tools:")) and not missing_files(one)]
)
def test_the_sets_that_ship_hold_out_all_that_they_say(source):
    prompts = read_source(source, label="benign" if "benign" in source else "harmful")
    assert held_apart(prompts) == prompts


@pytest.mark.parametrize("name", preset_names())
def test_presets_hold_out_all_that_their_sets_say(name):
    data = read_preset(name).data
    for label, source in (("harmful", data.circuit_breaker), ("benign", data.retain)):
        if not needs_worker(source) and not missing_files(source):
            prompts = read_source(source, label=label)
            assert held_apart(prompts) == prompts


def test_the_form_says_how_many_rows_are_not_held_out(twice, tiny_spec):
    prompts = read_source(twice, label="harmful")
    spec = tiny_spec(**{"data.answers": "elicit"})
    counts, problems = count_rows(spec, {"harmful": prompts})
    assert problems == {} and (counts["harmful"].training, counts["harmful"].heldout) == (3, 1)
    assert counts["harmful"].remarks == ("Left out of the held-out rows, as training rows ask the same: 3.",)
    assert count_rows(spec, {"harmful": held_apart(prompts)})[0]["harmful"].remarks == ()


def test_the_form_says_that_a_borderline_share_decides_nothing(tiny_spec, tmp_path):
    rows = [asking(f"{n}", "train", borderline=n % 2 == 0) for n in range(4)]
    spec = tiny_spec(**{"data.answers": "elicit", "data.borderline_share": 0.5})
    said = []
    for some in (rows, rows[::2], rows[1::2]):
        prompts = read_source(written(tmp_path / "rows.jsonl", *some), label="benign")
        counts, problems = count_rows(spec, {"benign": prompts})
        assert problems == {}
        said.append(counts["benign"].remarks)
    assert said[0] == () and "2 of 2 benign" in said[1][0] and "0 of 2 benign" in said[2][0]


@pytest.mark.parametrize("option", ["rows=5 {} rows=7", "keep=split:test {} keep=style:plain one"])
def test_an_option_that_is_given_twice_is_refused_with_both_values(option):
    first, last = option.split(" {} ")
    name, (one, other) = first.partition("=")[0], (part.partition("=")[2] for part in (first, last))
    with pytest.raises(DataError, match=f"gives '{name}' twice, as '{one}' and as '{other}': give it once"):
        parse_sources(f"sample:harmful {option.format('take=random')}")
    assert len(parse_sources(f"mine.jsonl {first}; mine.jsonl {last}")) == 2


def test_a_row_without_the_answer_that_it_is_to_keep_is_named_when_it_is_read(tmp_path):
    source = written(tmp_path / "a.jsonl", {"prompt": "p", "answer": "r"}, {"prompt": "q"})
    with pytest.raises(DataError, match=r"a\.jsonl, row 2: has no answer, and 'answered=given' keeps"):
        read_source(f"{source} answered=given", label="benign")
    assert [one.answer for one in read_source(f"{source} rows=1 answered=given", label="benign")] == ["r"]


@pytest.mark.parametrize("side", SIDES)
def test_given_answers_that_are_not_there_are_told_before_a_run_is_made(side, tiny_spec, tmp_path):
    rows = [asking(f"p{n}", "train", response="r") for n in range(3)]
    del rows[1]["response"]
    changes = {SIDES[side]: written(tmp_path / "a.jsonl", *rows)}
    given = tiny_spec(**changes, **{"data.answers": "given"})
    words = rf"1 of 3 {side} rows have no answer of their own, such as \w+ of .*a\.jsonl"
    with pytest.raises(DataError, match=words):
        need_inputs(given)
    assert list(count_rows(given, {side: read_source(changes[SIDES[side]], label=side)})[1]) == ["data.answers"]
    need_inputs(tiny_spec(**changes, **{"data.answers": "elicit"}))


def test_only_rows_that_the_spec_takes_need_their_answers(tiny_spec, tmp_path):
    rows = [asking("p", "train", category="some", response="r"), asking("q", "train", category="none")]
    changes = {"data.circuit_breaker": written(tmp_path / "a.jsonl", *rows), "data.answers": "given"}
    need_inputs(tiny_spec(**changes, **{"data.categories": ("some",)}))
    with pytest.raises(DataError, match=r"1 of 2 harmful rows"):
        need_inputs(tiny_spec(**changes))


@pytest.mark.parametrize("empty", ["", "  \n"])
def test_an_empty_answer_is_none_and_the_next_field_is_looked_at(empty, tmp_path):
    source = written(
        tmp_path / "a.jsonl",
        {"prompt": "p", "response": empty, "output": "told"},
        {"prompt": "q", "response": empty},
    )
    assert [one.answer for one in read_source(source, label="benign")] == ["told", None]
    with pytest.raises(DataError, match=r"row 1: field 'response' is"):
        read_source(source, label="benign", answer_field="response")
