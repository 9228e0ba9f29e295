"""What stands in a message of a value: enough to find it, and no content that may be harmful."""

import json
from datetime import date

import pytest

from engine.records.errors import DataError
from engine.records.prompt_files import read_source
from engine.records.shown import shown

SECRET = "first mix the two of them"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (5, "5"), (None, "None"), (1.5, "1.5"), (True, "True"), ("robot", "'robot'"), ("", "''"), ("  ", "'  '"),
        ("a few words", "'a few words'"),
        ("\u6df7\u5408\u4e24\u8005", "a text of 4 letters"),
        (SECRET, "a text of 25 letters"), ("x" * 41, "a text of 41 letters"), ([], "[]"),
        ([SECRET], "a list of 1"), ({}, "{}"), ({"role": SECRET}, "an object with 'role'"),
        ({str(number): 0 for number in range(7)}, "an object with '0', '1', '2', '3', '4' and 2 more"),
        (date(2026, 1, 2), "datetime.date(2026, 1, 2)"),
    ],
)  # fmt: skip
def test_values_are_shown_as_far_as_they_are_names_or_numbers(value, words):
    assert shown(value) == words


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "?", "response": [SECRET]},
        {"prompt": "?", "response": {"text": SECRET}},
        {"messages": [{"role": "user", "content": "?"}, {"role": "bot", "content": SECRET}]},
        {"messages": [{"role": "user", "content": "?"}, {"text": SECRET}]},
        {"messages": SECRET},
        {"messages": [{"role": "assistant", "parts": [{"kind": "text", "text": [SECRET]}]}]},
        {"prompt": "?", "tools": [{"name": "f", "parameters": {"type": "object"}}], "call": SECRET},
        {"prompt": "?", "tools": [{"name": "f", "parameters": {"type": "object"}}], "call": {"name": [SECRET]}},
        {"Instruction": "?", "Input": "?", "Output": [SECRET]},
    ],
)  # fmt: skip
def test_an_answer_that_cannot_be_read_is_not_quoted(row, tmp_path):
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    with pytest.raises(DataError) as raised:
        prompts = read_source(str(tmp_path / "rows.jsonl"), label="harmful")
        assert not prompts, "it was read"
    assert "mix" not in str(raised.value)
