"""Where arguments stand in what a model wrote, and how their letters are read."""

import json
import time

import pytest

from engine.records.argument_places import argument_places, letters
from engine.records.calls import read_calls
from engine.records.conversation import Call

SHAPES = {
    "hermes": '<tool_call>{{"name": "send", "arguments": {0}}}</tool_call>',
    "llama": '<|python_tag|>{{"name": "send", "parameters": {0}}}',
    "mistral": "[TOOL_CALLS]send[ARGS]{0}",
    "function": "<function=send>{0}</function>",
    "bare": '{{"name": "send", "arguments": {0}}}',
}
ARGUMENTS = {
    "to": ["a@b.example", "c"],
    "body": 'Say "hi"\n\tand 😀 — é',
    "count": 3,
    "nested": {"arguments": {"x": "y"}},
}


def shown(text: str, calls) -> list[dict[str, str]]:
    return [
        {place.name: "".join(letter.text for letter in letters(text, place)) for place in places}
        for places in argument_places(text, calls)
    ]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_each_argument_is_found_in_every_shape_and_reads_as_people_do(shape, ascii_only):
    text = "Sure.\n" + SHAPES[shape].format(json.dumps(ARGUMENTS, ensure_ascii=ascii_only))
    calls = read_calls(text).calls
    assert [call.arguments for call in calls] == [ARGUMENTS]
    [found] = shown(text, calls)
    assert list(found) == list(ARGUMENTS) and found["body"] == ARGUMENTS["body"] and found["count"] == "3"
    assert json.loads(found["to"]) == ARGUMENTS["to"]


def test_calls_are_told_apart_in_their_order_and_an_object_of_words_is_passed_over():
    one = '<tool_call>{"name": "send", "arguments": {"n": 1}}</tool_call>'
    two = one.replace("1", "2")
    broken = '<tool_call>{"name": "", "arguments": {"n": 0}}</tool_call>'
    text = one + broken + two
    calls = read_calls(text).calls
    assert [call.arguments for call in calls] == [{"n": 1}, {"n": 2}]
    assert shown(text, calls) == [{"n": "1"}, {"n": "2"}]
    assert [places[0].start for places in argument_places(text, calls)] == [text.find("1"), text.rfind("2")]


def test_what_was_not_written_as_an_object_has_no_places():
    assert argument_places('[send(to="x")]', [Call(name="send", arguments={"to": "x"})]) == [()]
    assert argument_places("", [Call(name="send")]) == [()]


def test_half_a_character_is_shown_as_what_cannot_be_shown():
    text = r'"arguments": {"x": "\ud83d!"}'
    [[place]] = argument_places(text, [Call(name="f", arguments={"x": "\ud83d!"})])
    assert "".join(letter.text for letter in letters(text, place)) == "\ufffd!"


def test_a_hundred_thousand_letters_and_a_thousand_openings_take_no_time():
    text = '{"name": "f", "arguments": ' + json.dumps({"x": '\\n"' * 50_000}) + "}" + '"arguments": {' * 5000
    started = time.monotonic()
    [[place]] = argument_places(text, [Call(name="f", arguments={"x": '\\n"' * 50_000})])
    assert len(letters(text, place)) == 150_000 and time.monotonic() - started < 5
