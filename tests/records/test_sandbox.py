"""No tool is ever carried out: a call is answered from what belongs to its tool."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.records.conversation import Call, CannedResult, Conversation, Message, Result, Text, Tool
from engine.records.errors import DataError
from engine.records.sandbox import DONE, LONGEST_RESULT, LONGEST_VALUE, result_of, results_of

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "days": {}}, "required": ["city"]}


def weather(*results: CannedResult) -> Tool:
    return Tool(name="weather", parameters=SCHEMA, results=results)


def answer(tool: Tool, **arguments) -> str:
    return result_of(Call(name="weather", arguments=arguments), (tool,)).text


def test_the_result_whose_arguments_fit_comes_before_the_default():
    tool = weather(
        CannedResult(text="Sunny."),
        CannedResult(text="Snow.", when={"city": "Oslo"}),
        CannedResult(text="Rain for days.", when={"city": "Bergen", "days": 3}),
    )
    assert answer(tool, city="Oslo") == answer(tool, city="Oslo", days=9) == "Snow."
    assert answer(tool, city="Bergen", days=3) == "Rain for days."
    assert answer(tool, city="Bergen") == answer(tool, city="Rome") == "Sunny."


def test_true_is_not_one():
    tool = weather(CannedResult(text="one", when={"days": 1}), CannedResult(text="true", when={"days": True}))
    assert answer(tool, city="Rome", days=True) == "true" and answer(tool, city="Rome", days=1) == "one"
    assert answer(tool, city="Rome", days=2) == DONE


def test_a_tool_without_results_is_done():
    assert answer(weather(), city="Rome") == DONE == '{"status": "done"}'


def test_a_result_names_the_call_by_its_id_or_its_tool():
    assert result_of(Call(name="weather", arguments={"city": "Rome"}, id="a1"), (weather(),)).call == "a1"
    assert result_of(Call(name="weather", arguments={"city": "Rome"}), (weather(),)).call == "weather"


def test_the_calls_own_arguments_fill_the_places():
    tool = weather(CannedResult(text="{city}: sunny for {days} days, {unknown} and {{city}}."))
    assert answer(tool, city="Rome", days=[1, 2]) == "Rome: sunny for [1, 2] days, {unknown} and {Rome}."


@pytest.mark.parametrize(
    "attempt",
    ["{city.__class__}", "{city[0]}", "{0}", "{city!r}", "{city:>1000000000}", "{__class__}", "%(city)s", "{"],
)
def test_nothing_but_an_argument_is_looked_up(attempt):
    assert answer(weather(CannedResult(text=f"It is {attempt}")), city="Rome") == f"It is {attempt}"


def test_an_argument_with_braces_asks_for_nothing():
    assert answer(weather(CannedResult(text="{city}")), city="{days}", days="{city}") == "{days}"


def test_values_and_results_are_bounded():
    assert answer(weather(CannedResult(text="{city}.")), city="x" * 100_000) == "x" * LONGEST_VALUE + "...."
    assert len(answer(weather(CannedResult(text="{city}" * 1000)), city="x" * 100_000)) == LONGEST_RESULT


@given(st.text(max_size=50))
def test_a_result_that_is_json_stays_json(city):
    assert json.loads(answer(weather(CannedResult(text='{"city": "{city}", "sky": "clear"}')), city=city)) == {
        "city": city,
        "sky": "clear",
    }


def test_a_call_that_does_not_fit_is_told_so():
    assert json.loads(answer(weather(CannedResult(text="Sunny.")), days=1)) == {
        "error": "Argument city is missing: the tool requires it."
    }
    unknown = result_of(Call(name="send"), (weather(),)).text
    assert "There is no tool 'send'" in json.loads(unknown)["error"]
    many = answer(weather(), city=1, **{f"argument_{number}" * 6: 1 for number in range(50)})
    assert len(many) <= LONGEST_RESULT and json.loads(many)["error"]


def test_a_schema_that_is_none_is_an_error_of_the_tools_not_of_the_call():
    with pytest.raises(DataError, match="'weather' are no JSON schema"):
        result_of(Call(name="weather"), (Tool(name="weather", parameters={"type": "dict"}),))


def test_a_conversation_goes_on_over_the_results_of_all_calls():
    tools = (weather(CannedResult(text="{city}: sunny.")),)
    calls = tuple(Call(name="weather", arguments={"city": city}) for city in ("Rome", "Oslo"))
    talk = Conversation(messages=Conversation.asking("Weather?").messages, tools=tools)
    talk = talk.then(Message(role="assistant", parts=(Text(text="I look."), *calls)), results_of(calls, tools))
    assert talk.messages[-1].parts == (
        Result(call="weather", text="Rome: sunny."),
        Result(call="weather", text="Oslo: sunny."),
    )
    assert Conversation.model_validate_json(talk.model_dump_json()) == talk
