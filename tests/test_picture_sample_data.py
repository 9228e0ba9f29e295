"""The requests about pictures that ship: enough, balanced, apart by split, and no near-duplicates."""

import json
import re
from collections import Counter

import pytest
from near_duplicates import similarities
from surfaces import told_apart

from engine.records.prompt_files import read_source
from engine.records.settings import SAMPLE_DATA

FOLDER = SAMPLE_DATA / "pictures"
CATEGORIES = {
    *("cybercrime", "fraud", "harassment", "physical_harm", "drugs"),
    *("weapons", "privacy", "theft", "disinformation"),
}
REFERENCE = re.compile(
    r"emoji-datasource-(google/img/google|twitter/img/twitter)/64/[0-9a-f-]+\.png"
    r"|emojione/assets/png/[0-9a-f-]+\.png|@lobehub/fluent-emoji-3d/assets/[0-9a-f-]+\.webp"
)


def rows(side: str) -> list[dict]:
    return [json.loads(line) for line in (FOLDER / f"{side}.jsonl").read_text().splitlines()]


HARMFUL, BENIGN = rows("harmful"), rows("benign")
TWINS = rows("twins-harmful"), rows("twins-benign")
PLAIN = rows("plain-benign")
EVERY = [*HARMFUL, *BENIGN, *TWINS[0], *TWINS[1], *PLAIN]


def test_there_are_enough_requests():
    assert len(HARMFUL) >= 200 and len(BENIGN) >= 300
    assert sum(row["borderline"] for row in BENIGN) >= 100


def test_every_row_names_a_picture_of_a_known_package_and_holds_a_request_alone():
    of_pairs = [*TWINS[0], *TWINS[1]]
    for row in EVERY:
        fields = {"id", "prompt", "picture", "category", "style", "split", "label"}
        beside = ({"borderline"} if row["label"] == "benign" else set()) | ({"twin"} if row in of_pairs else set())
        assert row.keys() == fields | beside, row["id"]
        assert REFERENCE.fullmatch(row["picture"]), row["id"]
    assert len({row["id"] for row in EVERY}) == len(EVERY)
    assert {row["category"] for row in HARMFUL} == {row["category"] for row in TWINS[0]} == CATEGORIES


def test_twins_show_the_same_picture_that_no_other_row_shows_are_trained_on_and_differ_in_harm():
    assert len(TWINS[0]) == len(TWINS[1]) >= 200
    others = {row["picture"] for row in (*HARMFUL, *BENIGN)}
    for harmful, benign in zip(*TWINS, strict=True):
        assert (harmful["twin"], benign["twin"]) == (benign["id"], harmful["id"])
        assert harmful["picture"] == benign["picture"] not in others
        assert harmful["split"] == benign["split"] == "train" and harmful["style"] == benign["style"]
        assert benign["borderline"] is True and (harmful["label"], benign["label"]) == ("harmful", "benign")
    assert len({row["picture"] for row in TWINS[0]}) == len(TWINS[0])


def test_everyday_requests_are_trained_on_alone_about_a_picture_each_that_no_tested_request_shows():
    assert len(PLAIN) >= 250
    assert {(row["split"], row["label"], row["borderline"]) for row in PLAIN} == {("train", "benign", False)}
    shown = {row["picture"] for row in PLAIN}
    assert len(shown) == len(PLAIN)
    assert shown.isdisjoint(row["picture"] for row in (*HARMFUL, *BENIGN))
    assert not any(picture.startswith("emoji-datasource-twitter") for picture in shown)
    assert len({row["style"] for row in PLAIN}) == 7


def test_surface_hardly_tells_twins_apart():
    harmful, benign = TWINS
    pairs = [(row["id"], row["prompt"]) for row in harmful], [(row["twin"], row["prompt"]) for row in benign]
    assert abs(told_apart(*pairs) - 0.5) < 0.15


def test_pictures_are_apart_by_split_and_the_held_out_design_is_tested_on_alone():
    splits: dict[str, set[str]] = {}
    for row in (*HARMFUL, *BENIGN):
        splits.setdefault(row["picture"], set()).add(row["split"])
    assert all(len(found) == 1 for found in splits.values())
    held_out = {row["split"] for row in (*HARMFUL, *BENIGN) if row["picture"].startswith("emoji-datasource-twitter")}
    assert held_out == {"test"}


@pytest.mark.parametrize(("split", "share"), [("train", 0.70), ("validation", 0.12), ("test", 0.18)])
def test_the_splits_have_the_sizes_that_they_should_and_both_sides_show_the_same_pictures(split, share):
    shown = []
    for side in (HARMFUL, BENIGN):
        of_split = [row for row in side if row["split"] == split]
        assert abs(len(of_split) / len(side) - share) < 0.02
        shown.append({row["picture"] for row in of_split})
    assert shown[0] == shown[1]


def test_both_sides_have_the_same_mix_of_styles():
    left, right = (Counter(row["style"] for row in side) for side in (HARMFUL, BENIGN))
    assert len(left) == 7 and left.keys() == right.keys()
    assert all(abs(left[style] / len(HARMFUL) - right[style] / len(BENIGN)) < 0.05 for style in left)


def test_no_near_duplicates_within_or_across_splits_or_with_the_other_sets():
    """Word 3-gram Jaccard similarity below 0.4 between any two requests, those of texts and tools beside them."""
    own = [(row["id"], row["prompt"]) for row in EVERY]
    sources = ("sample:", "tools:", "sample:registers-", "sample:persons-", "sample:tasks-", "sample:reasons-")
    others = [
        (prompt.id, prompt.text)
        for source in sources
        for label in ("harmful", "benign")
        for prompt in read_source(f"{source}{label}", label=label)
    ]
    texts = [*own, *others]
    for left, right, similarity in similarities([text for _, text in texts], len(own)):
        assert similarity < 0.4, (texts[left], texts[right])
