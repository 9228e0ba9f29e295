"""Turns of results in a chat's record: each column reads its own, rounds are counted, all of it is exported."""

import json

from making_callers import CALL, WEATHER

from engine.records.calls import read_calls
from engine.records.chats.answer_calls import AnswerCalls, answer_calls
from engine.records.chats.asked import Column, ForcedCall
from engine.records.chats.chat import MOST_ROUNDS, Chat, Exchange, new_chat
from engine.records.chats.replies import Answered, Called, Pieces, Read
from engine.records.conversation import Call, Result, Tool, say
from engine.records.spec_parts import ModelSpec
from workbench.chat.export import chat_json, chat_markdown

BASE = Column(checkpoint="base")
WRITTEN = '<tool_call>{"name": "get_weather", "arguments": {"city": "Bern"}}</tool_call>'


def turn(chat: Chat, *said: str, **more) -> int:
    """Ask, and answer as a worker would."""
    more = {"user": "" if more.get("results") else "ask", "turn": len(chat.thread()), "tools": (WEATHER,), **more}
    number = chat.ask(Exchange(model=ModelSpec(), columns=(BASE, BASE), **more))
    chat.append(number, Read(tokens=(9, 9), begun=("<x>", "<x>") if more.get("forced") else ()))
    chat.append(number, Pieces(columns=tuple((text,) for text in said)))
    reasons = tuple("end" if chat.message(number, column) else "not asked" for column in range(2))
    chat.append(number, Answered(ids=((1,), (2,)), reasons=reasons, first_token_seconds=0, seconds=1))
    for column, text in enumerate(said):
        if reasons[column] == "end":
            chat.append(number, Called(column=column, answer=answer_calls(read_calls(text), [WEATHER]), pieces=(text,)))
    return number


def roles(chat: Chat, number: int, column: int) -> list[str]:
    return [message.role for message in chat.conversation(number, column).messages]


def test_each_column_reads_the_results_of_its_own_calls(settings):
    chat = new_chat(settings, [BASE])
    turn(chat, WRITTEN, f"Let me see.\n{WRITTEN}{WRITTEN.replace('Bern', 'Rome')}")
    number = turn(chat, "Clear.", "Clear.", results=True)
    left, right = (chat.conversation(number, column) for column in range(2))
    assert [len(left.messages[-1].parts), len(right.messages[-1].parts)] == [1, 2]
    assert right.messages[1].parts[0].text == "Let me see." and left.messages[1].parts == (CALL,)
    assert right.messages[-1].parts[1] == Result(call="get_weather", text='{"city": "Rome", "sky": "clear"}')
    assert roles(chat, turn(chat, "a", "b"), 0) == ["user", "assistant", "tool", "assistant", "user"]


def test_a_call_whose_results_were_not_read_stands_as_it_was_written(settings):
    """A message was sent instead: templates take no call without a result, and Mistral's no two turns of the user's."""
    chat = new_chat(settings, [BASE])
    turn(chat, WRITTEN, "No call.")
    turn(chat, WRITTEN, WRITTEN)
    number = turn(chat, "Clear.", "Clear.", results=True)
    left, right = (chat.conversation(number, column).messages for column in range(2))
    assert left[1] == say("assistant", WRITTEN) and right[1] == say("assistant", "No call.")
    # Results come behind the second, which is a call.
    assert left[3].parts == right[3].parts == (CALL,) and left[4].role == right[4].role == "tool"


def test_a_call_stands_as_it_was_written_where_its_column_was_left_out_of_the_turn_of_results(settings):
    """Its results were too long for it, say; the other column read its own."""
    chat = new_chat(settings, [BASE])
    turn(chat, WRITTEN, WRITTEN)
    number = turn(chat, "", "Clear.", results=True)
    chat.append(number, Answered(ids=((), (2,)), reasons=("not asked", "end"), first_token_seconds=0, seconds=1))
    later = turn(chat, "a", "b")
    left, right = (chat.conversation(later, column).messages for column in range(2))
    assert [message.role for message in left] == ["user", "assistant", "user"] and left[1] == say("assistant", WRITTEN)
    assert [message.role for message in right] == ["user", "assistant", "tool", "assistant", "user"]
    assert right[1].parts == (CALL,)


def test_rounds_are_counted_up_to_where_a_message_is_said(settings):
    chat = new_chat(settings, [BASE])
    assert chat.rounds(turn(chat, WRITTEN, WRITTEN)) == 0
    for count in range(1, MOST_ROUNDS + 1):
        assert chat.rounds(turn(chat, WRITTEN, WRITTEN, results=True)) == count
    assert chat.rounds(turn(chat, WRITTEN, WRITTEN)) == 0


def test_a_column_that_was_not_asked_has_no_results_in_the_next_round_either(settings):
    chat = new_chat(settings, [BASE])
    turn(chat, WRITTEN, "No call.")
    number = turn(chat, WRITTEN, "", results=True)
    assert chat.message(number, 1) is None and chat.has_results(number)
    later = turn(chat, "Done.", "", results=True)
    assert chat.message(later, 1) is None and not chat.has_results(later)
    assert roles(chat, later, 1) == ["user", "assistant"]


def test_an_answer_that_a_probe_ended_made_no_call(settings):
    chat = new_chat(settings, [BASE])
    number = turn(chat, WRITTEN, WRITTEN)
    chat.append(number, Answered(ids=((1,), (2,)), reasons=("probe", "end"), first_token_seconds=0, seconds=1))
    later = turn(chat, "", "Clear.", results=True)
    assert chat.message(later, 0) is None and chat.message(later, 1) is not None


def test_a_turn_that_is_asked_again_reads_what_stands_above_it(settings):
    chat = new_chat(settings, [BASE])
    turn(chat, WRITTEN, WRITTEN)
    number = turn(chat, "Clear.", "Clear.", results=True)
    again = chat.ask(chat.exchange(number))
    assert roles(chat, again, 0) == ["user", "assistant", "tool"] and chat.thread() == [0, again]


def test_the_downloads_hold_tools_calls_problems_and_results(settings):
    chat = new_chat(settings, [BASE])
    turn(chat, WRITTEN, WRITTEN.replace("city", "town"), forced=ForcedCall(name="get_weather"))
    turn(chat, "Clear.", "It failed.", results=True)
    text = chat_markdown(chat)
    assert text.count("**Tools**") == 1 and "> get_weather: Weather of a city." in text
    assert "> [Call of get_weather]" in text and '> {"city": "Bern", "sky": "clear"}' in text
    assert "Argument city is missing" in text and "begun with a call of get_weather" in text
    assert "**Results** (" in text and "> <x><tool_call>" in text
    first = json.loads(chat_json(chat))["exchanges"][0]
    assert first["asked"]["forced"] == {"name": "get_weather", "start": "name"} and first["begun"] == ["<x>", "<x>"]
    assert first["called"][0]["answer"]["calls"][0]["arguments"] == {"city": "Bern"}


def test_chats_with_tools_are_told_from_others_by_their_first_exchange(settings):
    chat, plain = new_chat(settings, [BASE]), new_chat(settings, [BASE])
    turn(chat, "a", "b")
    turn(plain, "a", "b", tools=(), user='\n  "tools": [')
    assert chat.offers_tools and not plain.offers_tools


def test_a_tool_whose_schema_is_none_is_a_problem_of_its_call():
    broken = Tool(name="f", parameters={"type": "object", "properties": {"x": {"$ref": "#/nowhere"}}})
    answer = answer_calls(read_calls('{"name": "f", "arguments": {"x": 1}}'), [broken])
    assert answer.calls == (Call(name="f", arguments={"x": 1}),) and len(answer.problems) == len(answer.results) == 1
    assert "no JSON schema" in answer.problems[0][0]
    assert AnswerCalls.model_validate_json(answer.model_dump_json()) == answer
