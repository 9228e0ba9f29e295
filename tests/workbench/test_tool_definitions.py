"""Tools that a user gives, as text: what is taken, and what is refused in words."""

import json

import pytest

from engine.records.errors import DataError
from engine.records.tool_prompts import ToolDefinition
from workbench.tools.definitions import MOST_BYTES, tools_from
from workbench.tools.tool_cards import MOST_CARDS, tool_cards

PARAMETERS = {"type": "object", "properties": {"minutes": {"type": "integer"}}, "required": ["minutes"]}


def row(name: str = "water_plants", **more) -> dict:
    return {"name": name, "description": "Waters plants.", "parameters": PARAMETERS, **more}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(row()),
        json.dumps([row()], indent=2),
        json.dumps(row()) + "\n\n",
        json.dumps({"type": "function", "function": row()}),
        json.dumps(row(strict=True, type="function")),
    ],
)
def test_a_definition_is_read_in_every_shape(text):
    [tool] = tools_from(text, "The definition")
    assert tool.name == "water_plants" and tool.parameters == PARAMETERS


def test_a_line_each_is_read_with_their_results():
    lines = [row("one", results=[{"text": "done"}]), row("two", domain="garden")]
    tools = tools_from("\n".join(map(json.dumps, lines)), "tools.jsonl")
    assert [tool.name for tool in tools] == ["one", "two"] and tools[0].results[0].text == "done"
    # Signs that end a line elsewhere end none here.
    odd = [row("one", description="Waters.\u2028Slowly.\x85"), row("two")]
    tools = tools_from("\n".join(json.dumps(one, ensure_ascii=False) for one in odd), "tools.jsonl")
    assert tools[0].description == odd[0]["description"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "defines no tool"),
        ("water the plants", r"row 1: 'water the plants' is not JSON .* Give one JSON object"),
        (json.dumps(row()) + "\n{", "row 2: '{' is not JSON"),
        ("[]", "defines no tool"),
        ("3", "expected an object that defines a tool, got 3"),
        (json.dumps({"name": "x"}), "schema 'parameters' of the tool 'x' is missing"),
        (json.dumps(row(parameters={"type": "object", "properties": 3})), "give a JSON Schema"),
        (json.dumps(row(name="")), "name is ''"),
        (json.dumps([row(), row()]), "row 2: a tool named 'water_plants' was defined before"),
        (" " * (MOST_BYTES + 1), "more than 2,000,000"),
    ],
)
def test_what_is_no_tool_is_refused_by_its_row_and_value(text, said):
    with pytest.raises(DataError, match=said):
        tools_from(text, "The definition")


def test_cards_say_what_a_tool_takes_and_stay_letters():
    [tool] = tools_from(json.dumps(row(description="<b>bold</b>")), "x")
    html = tool_cards([ToolDefinition(tool=tool, domain="own")])
    assert "&lt;b&gt;bold" in html and "<code>minutes</code>" in html and "(integer, required)" in html
    many = [ToolDefinition(tool=tool.model_copy(update={"name": f"tool{n}"})) for n in range(200)]
    assert f"and {200 - MOST_CARDS} more tools" in tool_cards(many)


def test_schemas_of_any_kind_have_words():
    properties = {
        "a": {"enum": ["x", "y"]},
        "b": {"type": "array", "items": {"type": "string"}},
        "c": True,
        "d": {"type": ["string", "null"]},
        "e": {},
    }
    [tool] = tools_from(json.dumps(row(parameters={"type": "object", "properties": properties})), "x")
    html = tool_cards([ToolDefinition(tool=tool)])
    for words in ("one of &quot;x&quot;, &quot;y&quot;", "list of string", "(anything)", "string or null"):
        assert words in html
