"""Tools, calls and results as words of the messages, for chat templates that have no place for them."""

import json

import pytest
from making_tools import ASKED, CALL, WEATHER

from engine.records.calls import read_calls
from engine.records.conversation import Call, Conversation, Message, Result, Text, say
from engine.records.template_messages import in_words, template_messages, template_tools

CALLS = tuple(Call(name="get_weather", arguments={"city": city}) for city in ("Rome", "Oslo"))
RESULTS = Message(role="tool", parts=tuple(Result(call="get_weather", text=text) for text in ("clear", "snow")))


def told(conversation: Conversation, *, system_turn: bool = True) -> list[tuple[str, str]]:
    messages = in_words(template_messages(conversation), template_tools(conversation), system_turn=system_turn)
    return [(one["role"], one["content"]) for one in messages]


def test_what_is_offered_stands_behind_the_system_turns_own_words_or_in_one_of_its_own():
    (role, words), *rest = told(ASKED)
    assert role == "system" and rest == [("user", "How is the weather?")]
    assert WEATHER.description in words and json.dumps(WEATHER.parameters) in words and "clear" not in words
    named = Conversation(messages=(say("system", "Be brief."), *ASKED.messages), tools=ASKED.tools)
    assert told(named) == [("system", f"Be brief.\n{words}"), *rest]


def test_without_a_system_turn_it_stands_before_the_users_first_words_alone():
    words = told(ASKED)[0][1]
    talk = ASKED.then(say("assistant", "Where?"), say("user", "In Rome."))
    assert told(talk, system_turn=False) == [
        ("user", f"{words}\nHow is the weather?"),
        ("assistant", "Where?"),
        ("user", "In Rome."),
    ]


def test_calls_are_lines_that_are_read_back_and_results_one_turn_with_what_the_user_says_behind_them():
    said = Message(role="assistant", parts=(Text(text="I look."), *CALLS))
    talk = ASKED.then(said, RESULTS, say("user", "And Bern?"))
    called, answered = told(talk)[2:]
    assert called[0] == "assistant" and called[1].startswith("I look.\n")
    read = read_calls(called[1], ASKED.tools).calls
    assert [(one.name, one.arguments) for one in read] == [(one.name, one.arguments) for one in CALLS]
    assert answered == ("user", "Result of get_weather:\nclear\nResult of get_weather:\nsnow\nAnd Bern?")


def test_two_requests_of_a_user_stay_two_where_no_result_stands_between():
    talk = ASKED.then(say("user", "In Rome, I mean."))
    assert [role for role, _ in told(talk)] == ["system", "user", "user"]


def test_letters_of_any_script_stand_in_a_call_as_they_are():
    talk = ASKED.then(Message(role="assistant", parts=(CALL,)))
    assert "Zürich" in told(talk)[-1][1]


@pytest.mark.parametrize("system_turn", [True, False])
def test_messages_without_tools_calls_or_results_stay_as_they_are(system_turn):
    talk = Conversation(messages=(say("system", "Be brief."), say("user", "Hello"), say("assistant", "Hi")))
    assert in_words(template_messages(talk), None, system_turn=system_turn) == template_messages(talk)


def test_beside_a_picture_the_words_are_a_part_of_their_own():
    shown = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Where is this?"}]}
    [turn] = in_words([shown], template_tools(ASKED), system_turn=False)
    first, *rest = turn["content"]
    assert rest == shown["content"] and first["type"] == "text" and "get_weather" in first["text"]
    [system, same] = in_words([shown], template_tools(ASKED), system_turn=True)
    assert system["role"] == "system" and "get_weather" in system["content"] and same == shown
