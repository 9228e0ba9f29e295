"""Rows of prompt files that show pictures."""

import json

import pytest
from PIL import Image

from engine.records.archives import archive_folder
from engine.records.errors import DataError
from engine.records.picture_sets import DESIGNS
from engine.records.prompt_files import PACKAGED, missing_files, read_source, source_hashes
from engine.records.spec_parts import DataSpec


@pytest.fixture
def folder(tmp_path):
    for name, colour in (("cat", "red"), ("dog", "blue")):
        (tmp_path / "pictures").mkdir(exist_ok=True)
        Image.new("RGB", (6, 4), colour).save(tmp_path / "pictures" / f"{name}.png")
    return tmp_path


def rows(folder, *content):
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in content))
    return str(file)


def read(folder, *content):
    return read_source(rows(folder, *content), label="benign")


def test_a_row_shows_its_picture_before_its_words(folder):
    [prompt] = read(folder, {"prompt": "What is this?", "picture": "pictures/cat.png", "answer": "A cat."})
    [message] = prompt.conversation.messages
    assert [part.type for part in message.parts] == ["picture", "text"]
    assert message.parts[0].file == str(folder / "pictures" / "cat.png")
    assert (prompt.text, prompt.answer) == ("What is this?", "A cat.")


def test_the_pictures_of_packages_are_missed_until_all_are_fetched(settings):
    packages = [archive_folder(design.archive, settings) for design in DESIGNS.values()]
    assert missing_files("sample:harmful rows=9") == []
    for folder in packages:
        assert missing_files("sample:benign; pictures:benign") == [PACKAGED]
        folder.mkdir(parents=True)
    assert missing_files("sample:benign; pictures:benign") == []


def test_two_pictures_under_one_question_are_two_prompts(folder):
    asked = {"prompt": "What is this?"}
    both = {**asked, "pictures": ["pictures/cat.png", str(folder / "pictures" / "dog.png")]}
    found = read(
        folder, asked, {**asked, "picture": "pictures/cat.png"}, {**asked, "picture": "pictures/dog.png"}, both
    )
    assert len({prompt.id for prompt in found}) == len({prompt.conversation.key for prompt in found}) == 4
    assert [len(prompt.conversation.pictures) for prompt in found] == [0, 1, 1, 2]


def test_a_message_shows_pictures_where_it_names_their_files(folder):
    parts = [{"type": "text", "text": "This?"}, {"type": "picture", "file": "pictures/dog.png", "alt": "a dog"}]
    [prompt] = read(folder, {"messages": [{"role": "user", "content": parts}]})
    [picture] = prompt.conversation.pictures
    assert (picture.file, picture.alt) == (str(folder / "pictures" / "dog.png"), "a dog")


def test_tools_and_pictures_go_together(folder):
    tool = {"name": "look", "description": "", "parameters": {"type": "object", "properties": {}}}
    [prompt] = read(folder, {"prompt": "Look.", "picture": "pictures/cat.png", "tools": [tool]})
    assert prompt.conversation.tools and prompt.conversation.pictures


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"picture": "gone.png"}, r"row 1: The picture .*gone\.png does not exist"),
        ({"picture": "../other.png"}, r"row 1: The picture \.\./other\.png leads out of the folder"),
        ({"picture": "https://a.example/cat.png"}, "row 1: The picture https://a.example/cat.png is an address"),
        ({"picture": 3}, r"row 1: field 'picture' is '3': give the path of a picture file"),
        ({"pictures": "cat.png"}, "row 1: field 'pictures' is 'cat.png'"),
        ({"pictures": ["pictures/cat.png", ""]}, "row 1: field 'pictures' is"),
        ({"picture": "rows.jsonl"}, r"row 1: rows\.jsonl is no picture"),
        ({"picture": "a", "pictures": ["b"]}, "row 1: has both 'picture' and 'pictures'"),
    ],
)
def test_what_is_wrong_with_a_picture_is_said_with_its_row(folder, given, wrong):
    with pytest.raises(DataError, match=wrong):
        read(folder, {"prompt": "What is this?", **given})


def test_messages_and_a_picture_beside_them_are_refused(folder):
    row = {"messages": [{"role": "user", "content": "Hi"}], "picture": "pictures/cat.png"}
    with pytest.raises(DataError, match="shows pictures as parts of a message"):
        read(folder, row)


def test_pictures_may_be_kept_to_certain_folders(folder, monkeypatch):
    monkeypatch.setenv("WORKBENCH_FOLDERS", str(folder / "pictures"))
    source = rows(folder / "pictures", {"prompt": "What?", "picture": "/etc/hostname"})
    with pytest.raises(DataError, match="row 1: /etc/hostname lies outside the folders that may be read"):
        read_source(source, label="benign")


def test_the_digest_of_a_source_knows_its_pictures(folder):
    file = rows(folder, {"prompt": "What is this?", "picture": "pictures/cat.png"})
    data = DataSpec(circuit_breaker=file, retain=file)
    before = source_hashes(data)
    Image.new("RGB", (6, 4), "green").save(folder / "pictures" / "cat.png")
    assert source_hashes(data) != before


def test_a_relative_picture_is_read_where_its_prompt_file_may_be(folder, monkeypatch):
    monkeypatch.setenv("WORKBENCH_FOLDERS", str(folder))
    [prompt] = read(folder, {"prompt": "What?", "picture": "pictures/cat.png"})
    assert prompt.conversation.pictures
