"""Parameters in the words of function-calling sets become JSON Schema, with all names as they were."""

import pytest

from engine.records.call_schemas import need_schema
from engine.records.conversation import Tool
from engine.records.errors import DataError
from engine.records.schema_words import json_schema


def test_type_words_are_translated_at_every_depth_and_names_stay():
    given = {
        "type": "dict",
        "properties": {
            "type": {"type": "float", "description": "A parameter that is called type."},
            "items": {"type": "tuple", "items": {"type": "dict", "properties": {"a.b": {"type": "any", "enum": [1]}}}},
            "names": {"type": "List[str]"},
            "by_name": {"type": "HashMap<String, int>"},
            "maybe": {"type": ["int", "none"]},
        },
        "required": ["type"],
    }
    found = json_schema(given, "here")
    assert found == {
        "type": "object",
        "properties": {
            "type": {"type": "number", "description": "A parameter that is called type."},
            "items": {"type": "array", "items": {"type": "object", "properties": {"a.b": {"enum": [1]}}}},
            "names": {"type": "array", "items": {"type": "string"}},
            "by_name": {"type": "object"},
            "maybe": {"type": ["integer", "null"]},
        },
        "required": ["type"],
    }
    need_schema(Tool(name="f", parameters=found))
    assert json_schema(found, "here") == found


NAMED = {"type": "object", "properties": {"to": {"description": "Whom."}, "cc": {}}, "required": ["to"]}


@pytest.mark.parametrize(
    "given",
    [
        [{"name": "to", "description": "Whom."}, {"name": "cc", "required": False}],
        {"required": [{"name": "to", "description": "Whom."}], "optional": [{"name": "cc"}]},
        {"to": {"description": "Whom.", "required": True}, "cc": {"required": False}},
        {"type": "dict", "properties": {"to": {"description": "Whom."}, "cc": {}}, "required": ["to"]},
    ],
)
def test_a_list_of_parameters_and_required_at_the_parameter_come_to_the_same(given):
    assert json_schema(given, "here") == NAMED


def test_no_parameters_are_an_object_without_any():
    assert (
        json_schema(None, "x") == json_schema({}, "x") == json_schema([], "x") == {"type": "object", "properties": {}}
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"type": "dict", "properties": {"a": {"type": "whatever"}}},
            r"here\.properties\.a\.type is 'whatever'.*write string",
        ),
        ({"type": "dict", "properties": {"a": {"type": 3}}}, r"here\.properties\.a\.type is 3"),
        ("words", "here is 'words'"),
        ({"a": 3}, r"here is \{'a': 3\}"),
        ([{"description": "x"}], r"here\[0\] is .*give the parameter a name"),
        ([{"name": "a"}, {"name": "a"}], r"here\[1\] is a second parameter 'a'"),
    ],
)
def test_what_has_no_such_form_is_refused_with_its_place(given, said):
    with pytest.raises(DataError, match=said):
        json_schema(given, "here")


def test_endless_nesting_is_refused():
    schema: dict = {"type": "string"}
    for _ in range(100):
        schema = {"type": "dict", "properties": {"a": schema}}
    with pytest.raises(DataError, match="nested deeper than 32"):
        json_schema(schema, "here")


def test_parameters_that_say_they_are_optional_are_not_required():
    given = [
        {"name": "q", "type": "string"},
        {"name": "a", "type": "integer (optional)"},
        {"name": "b", "type": "List[int], optional"},
        {"name": "c", "type": "list[int] (Optional)", "required": True},
    ]
    found = json_schema(given, "here")
    assert found["required"] == ["q", "c"] and found["properties"]["a"] == {"type": "integer"}
    assert found["properties"]["b"] == found["properties"]["c"] == {"type": "array", "items": {"type": "integer"}}


def test_two_words_of_one_type_are_one():
    found = json_schema({"properties": {"a": {"type": ["list", "tuple", "null"]}}}, "here")
    assert found["properties"]["a"] == {"type": ["array", "null"]}
