"""Requests to agents are read with their tools, or refused with file, row, value and what to do."""

import json
from pathlib import Path

import pytest

from engine.records import prompt_files
from engine.records.errors import DataError
from engine.records.prompt_files import read_source, source_hashes
from engine.records.prompts import Prompt
from engine.records.spec_parts import DataSpec
from engine.records.tool_prompts import DEFINITIONS, ExpectedCall, read_tool_prompts, read_tools

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "unit": {"type": "string", "enum": ["celsius", "kelvin"]},
    },
    "required": ["city"],
}
WEATHER = {
    "domain": "search",
    "name": "weather",
    "description": "Says the weather.",
    "parameters": SCHEMA,
    "results": [{"when": {"unit": "kelvin"}, "text": "290"}, {"text": "{city}: 17"}],
}
CLOCK = {"name": "clock", "parameters": {"type": "object", "properties": {}}}
ROW = {"prompt": "Warm in Oslo?", "tools": ["weather", "clock"], "label": "benign"}


def write(path: Path, *rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def tools(tmp_path):
    return read_tools(write(tmp_path / "tools.jsonl", WEATHER, CLOCK))


@pytest.fixture
def refusal(tmp_path, tools):
    """What is said of a row that is refused, behind a good one."""

    def said(**changes) -> str:
        source = write(tmp_path / "rows.jsonl", ROW, {**ROW, **changes})
        with pytest.raises(DataError) as caught:
            read_tool_prompts(source, tools=tools)
        return str(caught.value)

    return said


@pytest.fixture
def refused_tool(tmp_path):
    def said(*rows) -> str:
        with pytest.raises(DataError) as caught:
            read_tools(write(tmp_path / "tools.jsonl", *rows))
        return str(caught.value)

    return said


def test_a_definition_has_a_tool_a_domain_and_canned_results(tools):
    weather = tools["weather"]
    assert (weather.tool.description, weather.domain, weather.tool.parameters) == (
        "Says the weather.",
        "search",
        SCHEMA,
    )
    assert [(result.when, result.text) for result in weather.tool.results] == [
        ({"unit": "kelvin"}, "290"),
        ({}, "{city}: 17"),
    ]
    assert tools["clock"].tool.results == ()


def test_rows_are_joined_to_the_tools_that_they_name(tmp_path, tools):
    call = {"name": "weather", "arguments": {"city": "Oslo", "days": 2}}
    source = write(
        tmp_path / "rows.jsonl", {**ROW, "call": call, "category": "search", "style": "short", "split": "test"}
    )
    [prompt] = read_tool_prompts(source, tools=tools)
    assert isinstance(prompt, Prompt) and prompt.text == "Warm in Oslo?"
    assert [tool.name for tool in prompt.conversation.tools] == ["weather", "clock"]
    assert prompt.call == ExpectedCall(name="weather", arguments={"city": "Oslo", "days": 2})
    assert (prompt.label, prompt.category, prompt.style, prompt.split) == ("benign", "search", "short", "test")


def test_a_row_may_define_its_tools_and_say_harmful_in_one_word(tmp_path):
    source = write(tmp_path / "rows.jsonl", {"prompt": "p", "tools": [WEATHER], "harmful": True})
    [prompt] = read_tool_prompts(source, tools={})
    assert prompt.label == "harmful" and prompt.conversation.tools[0].parameters == SCHEMA


def test_no_call_is_something_else_than_a_call_that_is_not_said(tmp_path, tools):
    source = write(tmp_path / "rows.jsonl", {**ROW, "call": None}, ROW, {**ROW, "call": {"name": "weather"}})
    expected = [(prompt.call, prompt.expects_call) for prompt in read_tool_prompts(source, tools=tools)]
    assert expected == [(None, False), (None, None), (ExpectedCall(name="weather"), True)]


def test_a_label_may_come_from_the_reader(tmp_path, tools):
    source = write(tmp_path / "rows.jsonl", {"prompt": "p", "tools": ["clock"]})
    assert read_tool_prompts(source, tools=tools, label="harmful")[0].label == "harmful"


def test_rows_with_messages_offer_tools_too(tmp_path, tools):
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    [prompt] = read_tool_prompts(
        write(tmp_path / "rows.jsonl", {"messages": messages, "tools": ["clock"], "label": "benign"}), tools=tools
    )
    assert len(prompt.conversation.messages) == 2 and prompt.conversation.tools[0].name == "clock"


def test_an_unknown_tool_is_named_with_some_that_are_known(refusal):
    said = refusal(tools=["weather", "teleport"])
    assert "rows.jsonl, row 2: tools[1] names 'teleport'" in said and "weather" in said


@pytest.mark.parametrize("given", [None, [], "weather", 7])
def test_a_row_offers_a_list_of_tools(refusal, given):
    assert "rows.jsonl, row 2: field 'tools' is" in refusal(tools=given)


def test_a_tool_is_offered_once(refusal):
    assert "offers 'clock' a second time" in refusal(tools=["clock", "clock"])


def test_a_call_is_of_a_tool_that_is_offered(refusal):
    said = refusal(tools=["clock"], call={"name": "weather", "arguments": {"city": "Oslo"}})
    assert "row 2: the call is of 'weather', which is not offered" in said and "clock" in said


@pytest.mark.parametrize("call", ["weather", {}, {"name": ""}, {"name": "weather", "arguments": [1]}, {"nme": "x"}])
def test_a_call_has_a_name_and_arguments(refusal, call):
    assert "rows.jsonl, row 2: field 'call' is" in refusal(call=call)


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ({}, "Argument city is missing"),
        ({"city": 3}, "Argument city is 3"),
        ({"city": "Oslo", "days": "two"}, 'Argument days is "two"'),
        ({"city": "Oslo", "days": True}, "Argument days is true"),
        ({"city": "Oslo", "unit": "stone"}, 'Argument unit is "stone"'),
        ({"city": "Oslo", "town": "Oslo"}, "it takes city, days, unit"),
    ],
)
def test_arguments_are_what_the_schema_asks_for(refusal, arguments, wrong):
    said = refusal(call={"name": "weather", "arguments": arguments})
    assert "row 2: the schema of weather refuses the arguments" in said and wrong in said and "Correct the call" in said


def test_arguments_of_a_hundred_thousand_letters_are_refused_in_a_short_sentence(refusal):
    said = refusal(call={"name": "weather", "arguments": {"city": "Oslo", "days": "9" * 100_000}})
    assert "days" in said and len(said) < 400


@pytest.mark.parametrize("changes", [{"label": "evil"}, {"label": None}, {"label": None, "harmful": "yes"}])
def test_a_row_says_whether_it_is_harmful(refusal, changes):
    said = refusal(**changes)
    assert "row 2: field 'label'" in said or "row 2: field 'harmful' is 'yes'" in said


def test_a_row_without_a_request_or_that_is_no_object_is_refused(refusal, tmp_path, tools):
    assert "row 2: field 'prompt' is ''" in refusal(prompt="")
    with pytest.raises(DataError, match="row 1: expected an object"):
        read_tool_prompts(write(tmp_path / "rows.jsonl", [1]), tools=tools)


def test_an_id_is_given_once(tmp_path, tools):
    source = write(tmp_path / "rows.jsonl", {**ROW, "id": "a"}, {**ROW, "prompt": "q", "id": "a"})
    with pytest.raises(DataError, match=r"row 2: the id 'a' is that of row 1 too"):
        read_tool_prompts(source, tools=tools)


def test_a_tool_is_defined_once(refused_tool):
    assert "tools.jsonl, row 2: a tool named 'clock' was defined before" in refused_tool(CLOCK, CLOCK)


@pytest.mark.parametrize(
    "parameters",
    [
        None,
        "text",
        {"type": "string"},
        {"type": "object", "properties": [1]},
        {"type": "object", "properties": {"a": 5}},
        {"type": "object", "properties": {"a": {}}, "required": ["b"]},
        {"type": "object", "properties": {"a": {}}, "required": "a"},
        {"type": "object", "properties": {"a": {"type": "sting"}}},
    ],
)
def test_a_schema_that_is_none_is_refused(refused_tool, parameters):
    said = refused_tool(WEATHER, {**CLOCK, "parameters": parameters})
    assert "tools.jsonl, row 2: the schema 'parameters' of the tool 'clock'" in said and "give a JSON Schema" in said


def test_a_tool_without_a_schema_a_name_or_an_object_is_refused(refused_tool):
    assert "'clock' is missing: give a JSON Schema" in refused_tool({"name": "clock"})
    assert "row 1: name is" in refused_tool({"parameters": CLOCK["parameters"]})
    assert "row 1: expected an object" in refused_tool("clock")


def test_results_are_texts_for_arguments_that_the_tool_has(refused_tool):
    assert "argument 'town'" in refused_tool({**WEATHER, "results": [{"when": {"town": "x"}, "text": "t"}]})
    assert "results.0.text is ''" in refused_tool({**WEATHER, "results": [{"text": ""}]})


def test_files_that_are_not_there_or_empty_are_named(tmp_path, tools):
    with pytest.raises(DataError, match="choose tools:benign or tools:harmful"):
        read_tool_prompts("tools:tools")
    with pytest.raises(DataError, match="does not exist"):
        read_tool_prompts(str(tmp_path / "gone.jsonl"), tools=tools)
    with pytest.raises(DataError, match="has no rows"):
        read_tool_prompts(write(tmp_path / "empty.jsonl"), tools=tools)
    with pytest.raises(DataError, match="defines no tool"):
        read_tools(write(tmp_path / "empty.jsonl"))


def test_a_source_of_a_run_may_hold_texts_and_requests_that_offer_tools(tmp_path: Path):
    """Two sources, one of each; the side says what a row is, and rows of a file may name tools that ship."""
    own = tmp_path / "own.jsonl"
    rows = [
        {"prompt": "Mail it.", "tools": ["send_email"], "call": {"name": "send_email"}, "harmful": False},
        {"prompt": "Say hello."},
    ]
    own.write_text("\n".join(map(json.dumps, rows)))
    prompts = read_source(f"tools:harmful rows=3; {own}", label="harmful")
    assert [type(prompt).__name__ for prompt in prompts] == ["ToolPrompt"] * 4 + ["Prompt"]
    assert {prompt.label for prompt in prompts} == {"harmful"}
    assert [tool.name for tool in prompts[3].conversation.tools] == ["send_email"]
    with pytest.raises(DataError, match=r"There is no sample set of tools 'tools:none'"):
        read_source("tools:none", label="harmful")


def test_a_spec_is_told_apart_by_the_tools_that_its_sets_name(monkeypatch, tmp_path: Path):
    data = DataSpec(circuit_breaker="tools:harmful", retain="sample:benign; tools:benign")
    before = source_hashes(data)
    assert set(before) == {"tools:harmful", "sample:benign", "tools:benign"}
    changed = tmp_path / "tools.jsonl"
    changed.write_bytes(DEFINITIONS.read_bytes() + b"\n")
    monkeypatch.setattr(prompt_files, "DEFINITIONS", changed)
    after = source_hashes(data)
    assert [name for name in before if before[name] != after[name]] == ["tools:harmful", "tools:benign"]
