"""What OpenAI clients send, read into the workbench's own form or refused in words."""

import json

import pytest

from engine.desk.queue import Queue
from engine.endpoint import app
from engine.endpoint.request import ChatRequest, read_request
from engine.endpoint.stops import StopWords
from engine.records.conversation import Call, Result, Text
from engine.records.errors import DataError

HELLO = [{"role": "user", "content": "Hello"}]
WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}}}


def read(**fields) -> ChatRequest:
    return read_request(json.dumps({"model": "base", "messages": HELLO} | fields).encode())


def test_what_is_left_out_is_greedy_and_of_the_usual_length():
    sampling = read().sampling
    assert (sampling.temperature, sampling.top_p, sampling.new_tokens) == (0, 1, 256)
    sampling = read(temperature=0.5, max_tokens=7, seed=3).sampling
    assert (sampling.temperature, sampling.new_tokens, sampling.seed) == (0.5, 7, 3)
    # Who asks twice draws twice.
    assert len({read(temperature=1).sampling.seed for _ in range(8)}) > 1
    assert read(max_tokens=7, max_completion_tokens=9).sampling.new_tokens == 9


def test_a_conversation_with_two_calls_and_their_results_is_read_whole():
    calls = [
        {"id": f"c{n}", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}} for n in (1, 2)
    ]
    results = [{"role": "tool", "tool_call_id": f"c{n}", "content": f"sky {n}"} for n in (1, 2)]
    found = read(
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "How"}, {"type": "text", "text": "is it?"}]},
            {"role": "assistant", "content": None, "tool_calls": calls},
            *results,
        ],
        tools=[WEATHER],
    ).conversation()
    assert [message.role for message in found.messages] == ["system", "user", "assistant", "tool"]
    assert found.messages[1].parts == (Text(text="How"), Text(text="is it?"))
    assert found.messages[2].parts == tuple(Call(name="get_weather", id=f"c{n}") for n in (1, 2))
    assert found.messages[3].parts == tuple(Result(call=f"c{n}", text=f"sky {n}") for n in (1, 2))
    assert [tool.name for tool in found.tools] == ["get_weather"]


def test_a_choice_of_tools_forces_a_call_offers_none_or_is_refused():
    chosen = {"type": "function", "function": {"name": "get_weather"}}
    forced = read(tools=[WEATHER], tool_choice=chosen).forced()
    assert forced is not None and forced.name == "get_weather"
    # Whose answer is words: whoever waited for its calls would keep them back.
    silent = read(tools=[WEATHER], tool_choice="none")
    assert silent.conversation().tools == () and not silent.offers_tools
    assert read(tools=[WEATHER]).offers_tools and not read().offers_tools
    with pytest.raises(DataError, match=r"tool_choice is 'required': use 'auto', 'none', or"):
        read(tools=[WEATHER], tool_choice="required").forced()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"temperature": 3}, r"temperature is 3: Input should be less than or equal to 2"),
        ({"messages": []}, r"messages is \[\]:"),
        ({"n": 2}, r"n is 2, which this endpoint does not do: leave it out"),
        ({"response_format": {"type": "json_object"}}, r"response_format is \{'type': 'json_object'\}, which"),
        ({"stop": ["a", "b", "c", "d", "e"]}, r"stop holds 5 texts: give at most 4"),
        ({"messages": [{"role": "king", "content": "x"}]}, r"messages\[0\] has the role 'king': use system"),
        ({"messages": [{"role": "user"}]}, r"messages\[0\] says nothing"),
        ({"messages": [{"role": "tool", "content": "x"}]}, r"messages\[0\] is a result and has no tool_call_id"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, r"reads parts of text alone"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}]},
            r"messages\[0\]\.tool_calls\[0\] is .*arguments that are JSON",
        ),
        ({"tools": [{"type": "function", "function": {}}]}, r"give the function a name"),
    ],
)
def test_what_cannot_be_done_is_said_with_its_place_and_value(fields, words):
    with pytest.raises(DataError, match=words):
        read(**fields).conversation()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"model": "base"}', b"[" * 100_000, b"\xff"])
def test_what_is_no_request_is_refused_in_words(body):
    with pytest.raises(DataError):
        read_request(body)


def test_a_text_ends_before_the_first_stop_however_its_pieces_fall():
    stops = StopWords(("END", "\n\n"))
    assert [stops.pass_on(piece) for piece in ("one E", "N", "ough\n", "two E", "ND rest", "more")] == [
        "one ",
        "",
        "ENough",
        "\ntwo ",
        "",
        "",
    ]
    assert stops.reached and stops.rest() == ""


def test_what_only_began_like_a_stop_is_said_at_the_end():
    stops = StopWords(("END",))
    assert stops.pass_on("the EN") == "the " and stops.rest() == "EN" and not stops.reached


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ('{"a": "\\ud800"}', "half a character"),
        ('{"a": NaN}', "a number that is none"),
        ('{"a": ' + "[" * 300 + "]" * 300 + "}", "nested deeper"),
        ('{"a": ' + "[" * 100_000, "arguments that are JSON"),
    ],
)
def test_arguments_that_cannot_be_written_again_are_refused_with_their_place(arguments, words):
    call = {"id": "c", "type": "function", "function": {"name": "get_weather", "arguments": arguments}}
    request = read(messages=[*HELLO, {"role": "assistant", "tool_calls": [call]}])
    with pytest.raises(DataError, match=rf"messages\[1\]\.tool_calls\[0\].*{words}"):
        request.conversation()


def test_two_tools_of_one_name_are_refused():
    with pytest.raises(DataError, match=r"tools\[1\] is a second tool 'get_weather'"):
        read(tools=[WEATHER, WEATHER]).conversation()


def test_who_waits_for_a_worker_that_never_comes_is_told_apart_from_who_waits_for_a_node(settings, monkeypatch):
    queue = Queue(settings.desk)
    number = queue.submit("serve_answer", payload={"served": "x"})
    assert app._is_left(settings, number) == "no worker"
    monkeypatch.setattr(app, "worker_place", lambda _: "a node to come")
    assert app._is_left(settings, number) == ""
    queue.claim()
    assert app._is_left(settings, number) == "ended"
    queue.cancel(number)
    assert app._is_left(settings, number + 1) == "ended"


def test_an_answer_that_said_nothing_may_be_sent_back_and_an_empty_system_turn_is_none():
    messages = [
        {"role": "system", "content": ""},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "And?"},
    ]
    talk = read(messages=messages).conversation()
    assert [(one.role, one.text) for one in talk.messages] == [("user", "Hi"), ("assistant", ""), ("user", "And?")]


def test_one_call_at_most_is_refused_rather_than_passed_over():
    read(tools=[WEATHER], parallel_tool_calls=True)
    with pytest.raises(DataError, match="parallel_tool_calls is False, which this endpoint does not do"):
        read(tools=[WEATHER], parallel_tool_calls=False)
