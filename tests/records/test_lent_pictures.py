"""Sources whose rows show pictures that are lent to them."""

import json

import pytest
from making_picture_packages import write_picture_packages

from engine.records.errors import DataError
from engine.records.picture_sets import named_pictures, training_pictures
from engine.records.pictures import picture_at
from engine.records.prompt_files import PACKAGED, missing_files, read_source


@pytest.fixture
def file(settings, tmp_path):
    write_picture_packages(settings)
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"What is this, number {one}?"}) + "\n" for one in range(30)))
    return path


def read(file, options):
    return read_source(f"{file} {options}", label="benign")


def test_each_row_shows_one_picture_that_may_be_trained_on_and_asks_the_same(file, settings):
    plain, found = read(file, ""), read(file, "picture=lent")
    allowed = {picture_at(one.file).sha256 for one in training_pictures(named_pictures(settings))}
    assert [one.text for one in found] == [one.text for one in plain]
    assert [one.split for one in found] == [one.split for one in plain]
    shown = [one.conversation.pictures for one in found]
    assert all(len(pictures) == 1 and pictures[0].sha256 in allowed for pictures in shown)
    assert len({pictures[0].sha256 for pictures in shown}) > 5
    assert [part.type for part in found[0].conversation.messages[0].parts] == ["picture", "text"]
    assert read(file, "picture=lent") == found and read(file, "picture=own") == plain


def test_copies_of_a_row_show_different_pictures(file):
    found = read(file, "rows=10 times=3 picture=lent")
    keys = [{one.conversation.pictures[0].sha256 for one in found[start : start + 3]} for start in range(0, 30, 3)]
    assert sum(map(len, keys)) > 20 and [one.copy_number for one in found[:3]] == [0, 1, 2]


def test_a_lent_picture_stands_in_the_place_of_the_rows_own_and_in_its_last_request(file, settings):
    [own] = {str(one.file) for one in named_pictures(settings) if one.design == "google" and one.name == "dog face"}
    asked = [{"role": "user", "content": [{"type": "picture", "file": own}, {"type": "text", "text": "And this?"}]}]
    before = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hi."}]
    file.write_text(json.dumps({"messages": [*before, *asked]}) + "\n")
    [prompt], [plain] = read(file, "picture=lent"), read(file, "")
    *opening, last = prompt.conversation.messages
    assert opening == list(plain.conversation.messages[:-1])
    assert [part.type for part in last.parts] == ["picture", "text"]
    assert last.parts[0].file != own


def test_rows_that_offer_tools_and_words_unknown_are_refused(file):
    with pytest.raises(DataError, match=r"offers tools, and none of these shows a picture lent to it\."):
        read_source("tools:benign rows=1 picture=lent", label="benign")
    with pytest.raises(DataError, match=r"'picture=any' of the source .* cannot be"):
        read(file, "picture=any")


def test_the_packages_are_missed_where_pictures_are_lent(settings):
    assert missing_files("sample:harmful rows=9 picture=lent") == [PACKAGED]
    with pytest.raises(DataError, match=r"are not here: fetch them once by"):
        read_source("sample:harmful rows=9 picture=lent", label="harmful")
