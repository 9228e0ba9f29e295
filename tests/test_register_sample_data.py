"""Prompts in other registers, of persons and groups, of tasks, with reasons, and encoded ones: enough, twinned,
balanced, and not told apart by their surface."""

import base64
import binascii
import codecs
import json
from collections import Counter

import numpy
import pytest
from near_duplicates import similarities
from surfaces import told_apart, words_of

from engine.records.errors import DataError
from engine.records.evaluation.rows import read_rows
from engine.records.prompt_files import read_source
from engine.records.settings import SAMPLE_DATA, read_settings
from engine.records.sources import sample_sources

SPLITS = ("train", "validation", "test")
REGISTERS = {
    *("plain", "keyboard", "typos", "letter", "forum"),
    *("british", "american", "indian", "second-language"),
}
KINDS = {
    *("homonym", "figurative", "safe-target", "safe-context", "definition", "history", "fiction", "privacy"),
    *("nonsense-discrimination", "discrimination", "prevention", "first-aid", "question-about-harm"),
}
ENCODINGS = ("base64", "rot13", "leetspeak")
LEETSPEAK = str.maketrans("431057", "aeiost")


def rows(name: str) -> list[dict]:
    return [json.loads(line) for line in (SAMPLE_DATA / "prompts" / f"{name}.jsonl").read_text().splitlines()]


HARMFUL, BENIGN = rows("registers-harmful"), rows("registers-benign")
PERSONS = rows("persons-harmful"), rows("persons-benign")
TASKS = rows("tasks-harmful"), rows("tasks-benign")
REASONS = rows("reasons-harmful"), rows("reasons-benign")
ENCODED = rows("encoded-harmful"), rows("encoded-benign")
SETS = {"registers": (HARMFUL, BENIGN), "persons": PERSONS, "tasks": TASKS, "reasons": REASONS}
WRITTEN = [row for sides in SETS.values() for side in sides for row in side]
EVERY = [*WRITTEN, *ENCODED[0], *ENCODED[1]]
written = pytest.mark.parametrize("sides", SETS.values(), ids=SETS)


def test_there_are_enough_of_every_topic_register_and_kind():
    assert len(HARMFUL) >= 700 and len(BENIGN) >= 1000
    assert min(Counter(row["category"] for row in HARMFUL).values()) >= 30
    assert len({row["category"] for row in HARMFUL}) >= 20
    for side in (HARMFUL, BENIGN):
        registers = Counter(row["register"] for row in side)
        assert registers.keys() == REGISTERS and min(registers.values()) >= 10
    kinds = Counter(row["kind"] for row in BENIGN)
    assert kinds.keys() == KINDS and min(kinds.values()) >= 19


def test_persons_and_groups_are_asked_of_on_all_topics_in_every_split():
    harmful, benign = PERSONS
    assert len(harmful) >= 110 and len(benign) >= len(harmful)
    for side in PERSONS:
        topics = {split: {row["category"] for row in side if row["split"] == split} for split in SPLITS}
        assert set(topics["train"]) == topics["validation"] == topics["test"] == {
            *("privacy", "confidential", "hate", "harassment")
        }  # fmt: skip
        assert {row["register"] for row in side} <= REGISTERS
    assert {row["kind"] for row in benign} == KINDS


def test_tasks_are_of_all_topics_of_the_registers_in_twins_and_trained_on_alone():
    harmful, benign = TASKS
    assert len(harmful) == len(benign) >= 300
    for side in TASKS:
        assert {row["category"] for row in side} == {row["category"] for row in HARMFUL}
        assert {row["split"] for row in side} == {"train"} and {row["register"] for row in side} <= REGISTERS
    assert {row["kind"] for row in benign} <= KINDS


def test_reasons_are_of_all_topics_in_twins_and_trained_on_alone_and_most_speak_of_somebody():
    harmful, benign = REASONS
    assert len(harmful) >= 170 and len(benign) > len(harmful)
    for side in REASONS:
        assert {row["category"] for row in side} == {row["category"] for row in (*HARMFUL, *PERSONS[0])}
        assert {row["split"] for row in side} == {"train"} and {row["register"] for row in side} <= REGISTERS
        somebody = [row for row in side if {"i", "i'm", "my", "me", "our", "we"} & set(words_of(row["prompt"]))]
        assert len(somebody) > len(side) / 2
    assert {row["kind"] for row in benign} <= KINDS


def test_rows_hold_a_request_and_what_it_is_and_nothing_that_answers_it():
    fields = {"id", "prompt", "category", "style", "register", "split", "twin"}
    for row in EVERY:
        beside = {"borderline", "kind"} if "borderline" in row else set()
        assert row.keys() == fields | beside | ({"of"} if row["style"] == "encoded" else set()), row["id"]
        assert row.get("borderline", True) is True
    ids = {row["id"] for row in EVERY}
    old = {prompt.id for name in ("harmful", "benign") for prompt in read_source(f"sample:{name}", label="benign")}
    assert len(ids) == len(EVERY) and not ids & old


@pytest.mark.parametrize(("harmful", "benign"), [*SETS.values(), ENCODED], ids=[*SETS, "encoded"])
def test_twins_share_topic_style_register_and_split(harmful, benign):
    by_id = {row["id"]: row for row in (*harmful, *benign)}
    for row in (*harmful, *benign):
        twin = by_id[row["twin"]]
        assert ("borderline" in twin) != ("borderline" in row)
        for field in ("category", "style", "register", "split"):
            assert twin[field] == row[field], (row["id"], field)
    assert {row["twin"] for row in benign} == {row["id"] for row in harmful}


@pytest.mark.parametrize(("split", "share"), [("train", 0.805), ("validation", 0.07), ("test", 0.125)])
def test_every_split_has_its_share_all_topics_and_the_same_mix_of_styles_on_both_sides(split, share):
    mixes = []
    for side in (HARMFUL, BENIGN):
        of_split = [row for row in side if row["split"] == split]
        assert abs(len(of_split) / len(side) - share) < 0.02
        assert len({row["category"] for row in of_split}) == len({row["category"] for row in side})
        mixes.append({style: count / len(of_split) for style, count in Counter(_field(of_split, "style")).items()})
    left, right = mixes
    assert len(left) == 7 and left.keys() == right.keys()
    assert all(abs(left[style] - right[style]) < 0.03 for style in left)


def test_both_sides_have_all_lengths_from_four_to_over_a_hundred_words():
    for side in (HARMFUL, BENIGN):
        words = [len(row["prompt"].split()) for row in side]
        assert min(words) == 4 and 100 < max(words) <= 125
    for style in set(_field(HARMFUL, "style")):
        means = [
            numpy.mean([len(row["prompt"].split()) for row in side if row["style"] == style])
            for side in (HARMFUL, BENIGN)
        ]
        assert max(means) / min(means) < 1.15, (style, means)


@written
def test_no_opening_of_three_words_begins_more_than_one_in_fifty(sides):
    for side in sides:
        openings = Counter(" ".join(words_of(row["prompt"])[:3]) for row in side)
        opening, count = openings.most_common(1)[0]
        assert count <= len(side) / 50, opening


@written
def test_surface_does_not_tell_the_sides_apart(sides):
    """Area under the curve near chance, in whichever direction, each twin held out with the other."""
    harmful, benign = sides
    pairs = [(row["id"], row["prompt"]) for row in harmful], [(row["twin"], row["prompt"]) for row in benign]
    assert abs(told_apart(*pairs) - 0.5) < 0.08


def test_no_near_duplicates_but_twins_and_none_of_the_other_sets():
    """Word 3-gram Jaccard similarity below 0.4 with any prompt but those of the same group, all sample sets beside."""
    own = [(row["id"] if "borderline" not in row else row["twin"], row["prompt"]) for row in WRITTEN]
    others = [("", prompt.text) for name in _other_sets() for prompt in read_source(name, label="benign")]
    texts = [*own, *others]
    for left, right, similarity in similarities([text for _, text in texts], len(own)):
        if texts[left][0] != texts[right][0]:
            assert similarity < 0.4, (texts[left], texts[right])


@pytest.mark.parametrize("published", ["strongreject", "overrefusal"])
def test_no_prompt_shares_eight_words_in_a_row_with_what_evaluations_ask(published):
    try:
        asked = read_rows(published, label="harmful", settings=read_settings())
    except DataError as missing:
        pytest.skip(str(missing))
    theirs = {run for row in asked for run in _runs_of_eight(row.prompt)}
    for row in WRITTEN:
        assert not theirs & _runs_of_eight(row["prompt"]), row["id"]


def test_encoded_rows_are_trained_on_alone_and_hold_the_request_of_a_training_row():
    sources = {row["id"]: row for row in (*HARMFUL, *BENIGN)}
    for harmful, benign in zip(*ENCODED, strict=True):
        assert harmful["twin"] == benign["id"] and sources[benign["of"]]["twin"] == harmful["of"]
    for row in (*ENCODED[0], *ENCODED[1]):
        source = sources[row["of"]]
        assert row["style"] == "encoded" and row["split"] == source["split"] == "train"
        assert _holds(row, source["prompt"]), row["id"]
    for side in ENCODED:
        assert Counter(_field(side, "register")) == dict.fromkeys(ENCODINGS, 20)


def test_an_ablation_takes_as_many_rows_of_old_and_new_sets():
    old, new = (
        read_source(f"sample:{name} keep=split:train rows=500 take=random", label="harmful")
        for name in ("harmful", "registers-harmful")
    )
    assert len(old) == len(new) == 500 and not {prompt.text for prompt in old} & {prompt.text for prompt in new}
    typos = read_source("sample:registers-benign keep=register:typos", label="benign")
    assert len(typos) >= 40 and all(prompt.borderline for prompt in typos)


def _other_sets() -> list[str]:
    return [name for name in sample_sources() if name in {"sample:harmful", "sample:benign"} or "tools:" in name]


def _holds(row: dict, text: str) -> bool:
    """Whether the row's text, decoded, holds this one."""
    if row["register"] == "rot13":
        return text in codecs.decode(row["prompt"], "rot13")
    if row["register"] == "leetspeak":
        return text.lower().translate(LEETSPEAK) in row["prompt"].lower().translate(LEETSPEAK)
    return any(text == _decoded(word) for word in row["prompt"].split())


def _decoded(word: str) -> str:
    try:
        return base64.b64decode(word, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _runs_of_eight(text: str) -> set[tuple[str, ...]]:
    words = words_of(text)
    return {tuple(words[start : start + 8]) for start in range(len(words) - 7)}


def _field(side: list[dict], name: str) -> list[str]:
    return [row[name] for row in side]
