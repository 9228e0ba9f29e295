"""A call is held against the schema of its tool, and each thing that is wrong is a sentence with its place."""

import time

import pytest

from engine.records.call_schemas import MOST_PROBLEMS, check_call, need_schema
from engine.records.conversation import Call, Tool
from engine.records.errors import DataError

MAIL = Tool(
    name="send_mail",
    parameters={
        "type": "object",
        "properties": {
            "to": {"type": "array", "items": {"type": "string"}, "minItems": 1},
            "urgency": {"enum": ["low", "high"]},
            "copies": {"type": ["integer", "null"], "maximum": 3},
            "sender": {
                "type": "object",
                "properties": {"name": {"type": "string"}},
                "required": ["name"],
                "additionalProperties": False,
            },
        },
        "required": ["to", "urgency"],
    },
)
TOOLS = (MAIL, Tool(name="wait"))
RIGHT = {"to": ["ann"], "urgency": "low", "copies": 2, "sender": {"name": "Bo"}}


def problems(**changes) -> list[tuple[str, str]]:
    arguments = {name: value for name, value in {**RIGHT, **changes}.items() if value is not ...}
    return [(one.kind, one.text) for one in check_call(Call(name="send_mail", arguments=arguments), TOOLS)]


def test_a_call_that_fits_has_no_problems():
    assert problems() == problems(copies=None) == problems(copies=..., sender=...) == []
    assert check_call(Call(name="wait", arguments={"anything": [1]}), TOOLS) == ()


@pytest.mark.parametrize(
    ("changes", "kind", "text"),
    [
        ({"to": ...}, "missing", "Argument to is missing: the tool requires it."),
        ({"sender": {}}, "missing", "Argument sender.name is missing: the tool requires it."),
        ({"to": ["ann", 7]}, "type", "Argument to[1] is 7 where the tool takes string."),
        ({"copies": "two"}, "type", 'Argument copies is "two" where the tool takes integer or null.'),
        ({"copies": True}, "type", "Argument copies is true where the tool takes integer or null."),
        ({"urgency": "now"}, "choice", 'Argument urgency is "now": choose one of "low", "high".'),
        (
            {"blind": 1},
            "additional",
            "Argument blind is unknown to the tool: it takes to, urgency, copies, sender.",
        ),
        (
            {"sender": {"name": "Bo", "age": 3}},
            "additional",
            "Argument sender.age is unknown to the tool: it takes name.",
        ),
        ({"copies": 4}, "other", "Argument copies is 4, against the tool's rule maximum: 3."),
        ({"to": []}, "other", "Argument to is [], against the tool's rule minItems: 1."),
    ],
)
def test_each_thing_that_is_wrong_is_a_sentence_with_its_place(changes, kind, text):
    assert problems(**changes) == [(kind, text)]


def test_everything_that_is_wrong_is_told_once():
    told = problems(to=..., urgency=..., copies="x", more=1, other=2)
    assert sorted(kind for kind, _ in told) == ["additional", "additional", "missing", "missing", "type"]
    assert len(set(told)) == 5
    assert [one.path for one in check_call(Call(name="send_mail", arguments={"to": [1], "urgency": "low"}), TOOLS)] == [
        "to[0]"
    ]


def test_an_unknown_tool_is_told_with_those_that_are_offered():
    [problem] = check_call(Call(name="send\u200b_mail"), TOOLS)
    assert problem.kind == "unknown tool"
    assert problem.text == r"There is no tool 'send\u200b_mail': call one of those that are offered (send_mail, wait)."
    many = [Tool(name=f"tool_{number}") for number in range(200)]
    assert check_call(Call(name="x"), many)[0].text.endswith("tool_19 and 180 more).")
    assert "(none)" in check_call(Call(name="x"), ())[0].text


def test_other_arguments_are_let_pass_where_the_schema_says_so():
    tool = Tool(name="f", parameters={"type": "object", "properties": {}, "additionalProperties": True})
    assert check_call(Call(name="f", arguments={"a": 1}), [tool]) == ()
    typed = Tool(name="f", parameters={"properties": {}, "additionalProperties": {"type": "string"}})
    assert [one.path for one in check_call(Call(name="f", arguments={"a": 1, "b": "c"}), [typed])] == ["a"]


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"type": "dict", "properties": {}}, '"dict" at type is not what JSON Schema has there'),
        ({"properties": {"a": {"type": "float"}}}, '"float" at properties.a.type is not'),
        ({"properties": ["a"]}, r'\["a"\] at properties is not'),
        ({"required": "a"}, '"a" at required is not'),
        ({"type": "string"}, 'its type is "string", and arguments are an object'),
    ],
)
def test_a_schema_that_is_no_schema_names_the_tool(parameters, reason):
    tool = Tool(name="broken", parameters=parameters)
    for ask in (lambda: need_schema(tool), lambda: check_call(Call(name="broken"), (tool,))):
        with pytest.raises(DataError, match=rf"tool 'broken' are no JSON schema of its arguments: {reason}.*Mend them"):
            ask()


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("#", "refers to itself without end"),
        ("#/$defs/gone", "refers to .*gone"),
        ("https://example.org/schema.json", "refers to .*example.org"),
    ],
)
def test_references_stay_within_the_schema_and_nothing_is_fetched(reference, reason, monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", lambda *_: pytest.fail("something was fetched"))
    tool = Tool(name="broken", parameters={"$ref": reference})
    with pytest.raises(DataError, match=f"tool 'broken' .*{reason}"):
        check_call(Call(name="broken", arguments={"a": 1}), (tool,))


def test_references_within_the_schema_are_followed():
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}, "n": {"type": "integer"}}}
    tree = {"type": "object", "properties": {"root": {"$ref": "#/$defs/node"}}, "$defs": {"node": node}}
    call = Call(name="f", arguments={"root": {"n": 1, "next": {"n": "x"}}})
    assert [one.path for one in check_call(call, [Tool(name="f", parameters=tree)])] == ["root.next.n"]


def test_a_slow_pattern_in_a_file_of_tools_stops_nothing():
    slow = {"properties": {"a": {"pattern": "^(a+)+$"}}, "patternProperties": {"^(a+)+$": {}}}
    started = time.perf_counter()
    assert check_call(Call(name="f", arguments={"a": "a" * 40 + "!"}), [Tool(name="f", parameters=slow)]) == ()
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize(
    "patterned",
    [
        {"patternProperties": {"^x": {}}},
        {"allOf": [{"patternProperties": {"^x": {}}}]},
        {"$ref": "#/$defs/open", "$defs": {"open": {"patternProperties": {"^x": {}}}}},
    ],
    ids=["beside", "in a part", "referred to"],
)
def test_a_pattern_of_names_is_not_run_to_tell_which_are_left_over(patterned):
    """Any name may fit it; without patterns what is left over is told."""
    closed = {"type": "object", "unevaluatedProperties": False}
    call = Call(name="f", arguments={"y": 1})
    assert check_call(call, [Tool(name="f", parameters=closed | patterned)]) == ()
    [problem] = check_call(call, [Tool(name="f", parameters=closed | {"allOf": [{"properties": {"x": {}}}]})])
    assert problem.kind == "other" and "unevaluatedProperties" in problem.text


def test_large_and_deep_arguments_give_short_sentences():
    deep: list = []
    for _ in range(3000):
        deep = [deep]
    for value in ("x" * 100_000, ["y"] * 100_000, deep):
        [(_, text)] = problems(urgency=value)
        assert len(text) < 300
    assert problems(urgency=deep) == [
        ("other", "The call cannot be checked, since it is nested deeper than 64 levels.")
    ]
    many = Call(name="send_mail", arguments={**RIGHT, **{f"more_{number}": 1 for number in range(1000)}})
    assert len(check_call(many, TOOLS)) == MOST_PROBLEMS


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"$ref": "#/required/x"}}, "required": ["a"]},
        {"properties": {"a": {"$ref": "#/default/x"}}, "default": None},
        {"properties": {"a": {"description": "words", "$ref": "#/properties/a/description"}}},
        {"properties": {"a": {"$ref": "#/parts/s"}}, "parts": {"s": {"type": "str"}}},
    ],
)
def test_a_reference_to_what_is_no_schema_is_refused_with_its_words(schema):
    with pytest.raises(DataError, match=r"it refers to \"#/.*, and holds no schema there"):
        check_call(Call(name="f", arguments={"a": 1}), [Tool(name="f", parameters=schema)])


def test_a_number_too_large_to_compare_is_a_problem_of_the_call():
    tool = Tool(name="f", parameters={"properties": {"a": {"multipleOf": 0.01}}})
    [problem] = check_call(Call(name="f", arguments={"a": 10**400}), [tool])
    assert problem.text.endswith("it holds a number too large to compare.")


def test_arguments_that_another_part_of_the_schema_names_are_known():
    parts = {"properties": {"v": {}}, "allOf": [{"properties": {"w": {"type": "integer"}}}]}
    tool = Tool(name="f", parameters=parts)
    assert check_call(Call(name="f", arguments={"v": 1, "w": 1}), [tool]) == ()
    assert [one.path for one in check_call(Call(name="f", arguments={"w": "x"}), [tool])] == ["w"]
    [made_up] = check_call(Call(name="f", arguments={"v": 1, "w": 1, "z": 1}), [tool])
    assert (made_up.kind, made_up.path) == ("additional", "z")
    # One of two has to be given, a common way to say so: it names no others.
    either = {"properties": {"a": {}, "b": {}}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}
    [made_up] = check_call(Call(name="f", arguments={"a": 1, "z": 1}), [Tool(name="f", parameters=either)])
    assert made_up.path == "z"
    elsewhere = {
        "properties": {"a": {}},
        "allOf": [{"$ref": "#/$defs/more"}],
        "$defs": {"more": {"properties": {"b": {}}}},
    }
    assert check_call(Call(name="f", arguments={"a": 1, "b": 1}), [Tool(name="f", parameters=elsewhere)]) == ()


def test_a_dialect_that_a_schema_names_changes_no_sentence_within_it():
    node = {"type": "object", "properties": {"v": {"type": "string"}, "next": {"$ref": "#"}}, "required": ["v"]}
    tool = Tool(name="f", parameters={"$schema": "http://json-schema.org/draft-07/schema#", **node})
    [problem] = check_call(Call(name="f", arguments={"v": "b", "next": {}}), [tool])
    assert problem.text == "Argument next.v is missing: the tool requires it."
