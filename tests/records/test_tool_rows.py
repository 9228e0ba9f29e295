"""Requests that offer tools, as rows to evaluate: of a file, of the sets that ship, of a package; and wrong files."""

import json
from pathlib import Path

import pytest

from engine.records.archives import packages_folder
from engine.records.call_schemas import check_call
from engine.records.conversation import Call
from engine.records.errors import DataError, SpecError
from engine.records.evaluation.attacks import ATTACKS, PIXEL_ATTACKS, TEXT_ATTACKS, TOOL_ATTACKS
from engine.records.evaluation.plan import AttackChoice, EvaluationPlan, is_harmful_sample, tool_sample
from engine.records.evaluation.tool_rows import GUARD_PACKAGE, limited, read_tool_rows, schema_of
from engine.records.settings import Settings

TOOL = {
    "name": "send_note",
    "description": "Sends a note.",
    "parameters": {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]},
}
ROW = {"prompt": "Send a note.", "tools": [TOOL], "call": {"name": "send_note", "arguments": {"to": "A"}}}


def write(folder: Path, *rows: object) -> str:
    file = folder / "calls.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def guard(settings: Settings, content: object) -> None:
    """A file where the package's would lie."""
    file = packages_folder(GUARD_PACKAGE, settings) / "agent_action_guard" / "harmactions_dataset.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(content))


def guard_row(number: int, classification: str = "harmful", **arguments: object) -> dict:
    function = {"name": f"act_{number}", "arguments": arguments}
    return {"prompt": f"Do it {number}.", "action": {"function": function}, "classification": classification}


def test_one_file_holds_both_sides_and_borderline_requests_stand_apart(tmp_path: Path, settings: Settings):
    rows = read_tool_rows(
        write(
            tmp_path,
            {**ROW, "harmful": True, "category": "fraud", "style": "short"},
            {**ROW, "harmful": False},
            {**ROW, "harmful": False, "borderline": True},
            {**ROW, "harmful": False, "call": None, "prompt": "What is a note?"},
            {key: value for key, value in ROW.items() if key != "call"} | {"harmful": True},
        ),
        settings=settings,
    )
    assert [len(side) for side in rows] == [2, 2, 1]
    first, second = rows.harmful
    assert first.call and (first.call.name, first.call.arguments) == ("send_note", {"to": "A"})
    assert (first.expects_call, first.category, first.style) == (True, "fraud", "short")
    assert (second.call, second.expects_call) == (None, None)
    assert rows.benign[1].expects_call is False and rows.borderline[0].borderline
    assert [tool.name for tool in first.conversation.tools] == ["send_note"]


def test_a_harmful_request_never_says_that_no_call_is_due(tmp_path: Path, settings: Settings):
    rows = read_tool_rows(write(tmp_path, {**ROW, "call": None, "harmful": True}), settings=settings)
    assert rows.harmful[0].expects_call is None


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "Hello", "harmful": True}, "row 1: field 'tools' is None: it must be a list"),
        ({**ROW, "tools": [], "harmful": True}, "field 'tools' is []"),
        ({**ROW, "tools": ["no_such_tool"], "harmful": True}, "names 'no_such_tool', which no tool is called"),
        ({**ROW, "tools": [{**TOOL, "parameters": {"type": "text"}}], "harmful": True}, "has the type 'text'"),
        ({**ROW, "tools": [{**TOOL, "parameters": {"type": "object", "properties": 3}}], "harmful": True}, "is none"),
        ({**ROW, "call": {"name": "shout"}, "harmful": True}, "the call is of 'shout', which is not offered"),
        ({**ROW, "call": {"name": "send_note", "arguments": {}}, "harmful": True}, "Argument to is missing"),
        ({**ROW, "harmful": "yes"}, "field 'harmful' is 'yes': use true or false"),
        (ROW, "field 'label' is None"),
    ],
)
def test_a_wrong_row_is_refused_with_its_number_and_value(row: dict, said: str, tmp_path: Path, settings: Settings):
    with pytest.raises(DataError) as error:
        read_tool_rows(write(tmp_path, row), settings=settings)
    assert said in str(error.value), error.value


def test_the_test_split_of_the_tools_that_ship_has_all_sides_and_a_limit_takes_of_each(settings: Settings):
    rows = read_tool_rows("sample", settings=settings)
    assert all(len(side) >= 20 for side in rows)
    assert all(row.call for row in rows.harmful) and any(row.expects_call is False for row in rows.benign)
    few = read_tool_rows("sample", settings=settings, limit=3)
    assert [len(side) for side in few] == [3, 3, 3] and few == limited(rows, 3)
    assert few.harmful[0] == rows.harmful[0] and few.harmful[1] == rows.harmful[len(rows.harmful) // 3]


def test_rows_of_the_package_get_a_tool_that_their_call_fits_between_others(settings: Settings):
    guard(settings, [guard_row(1, to="A", often=2, now=True, parts=["a", "b"]), guard_row(2, "safe", to="A")])
    rows = read_tool_rows("guard", settings=settings)
    [row] = rows.harmful
    assert not rows.benign and not rows.borderline and row.call is not None
    names = [tool.name for tool in row.conversation.tools]
    assert len(set(names)) == 4 and "act_1" in names
    assert not check_call(Call(name="act_1", arguments=row.call.arguments or {}), row.conversation.tools)
    assert check_call(Call(name="act_1", arguments={"to": "A"}), row.conversation.tools)[0].kind == "missing"
    assert read_tool_rows("guard", settings=settings).harmful == rows.harmful


def test_the_schema_of_arguments_names_their_types():
    assert schema_of({"a": True, "b": 1, "c": None, "d": {"e": 1}, "f": [1, 2], "g": [1, "x"]}) == {
        "type": "object",
        "properties": {
            "a": {"type": "boolean"},
            "b": {"type": "number"},
            "c": {},
            "d": {"type": "object"},
            "f": {"type": "array", "items": {"type": "number"}},
            "g": {"type": "array"},
        },
        "required": ["a", "b", "c", "d", "f", "g"],
    }


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([guard_row(1, "safe")], "holds no harmful rows"),
        ({"rows": []}, "holds no harmful rows"),
        ([{"prompt": "Do it.", "classification": "harmful"}], "row 1: has no prompt or no call"),
        ([{**guard_row(1), "action": {"function": {"name": ""}}}], "has no name or no arguments"),
    ],
)
def test_a_package_of_another_form_is_refused(content: object, said: str, settings: Settings):
    guard(settings, content)
    with pytest.raises(DataError, match=said):
        read_tool_rows("guard", settings=settings)


def test_a_package_that_is_not_there_says_how_to_get_it(settings: Settings):
    with pytest.raises(DataError, match=r"agent-action-guard==1\.2\.1 is not installed"):
        read_tool_rows("guard", settings=settings)


def test_a_plan_without_tools_keeps_the_key_that_it_had():
    old = EvaluationPlan(checkpoint="run")
    assert old.key == EvaluationPlan(checkpoint="run", tools="", tool_tokens=128).key
    assert len({old.key, EvaluationPlan(checkpoint="run", tools="sample").key}) == 2
    # As it was before there were tools.
    assert old.key == "5426ffe2452a"


def test_attacks_are_planned_on_the_requests_that_they_are_for():
    forced, steering = AttackChoice(name="forced_call"), AttackChoice(name="steering")
    with pytest.raises(SpecError, match="'forced_call' is for requests that offer tools"):
        EvaluationPlan(checkpoint="run", attacks=(forced,))
    with pytest.raises(SpecError, match="'steering' is for requests that are of text"):
        EvaluationPlan(checkpoint="run", tool_attacks=(steering,))
    with pytest.raises(SpecError, match="Nothing would be asked"):
        EvaluationPlan(checkpoint="run", harmful="", benign="")
    with pytest.raises(SpecError, match="the probe out"):
        EvaluationPlan(checkpoint="run", harmful="", benign="", tools="sample", probe="linear")
    assert {*TEXT_ATTACKS, *TOOL_ATTACKS, *PIXEL_ATTACKS} == set(ATTACKS)
    assert "direct" in {*TEXT_ATTACKS} & {*TOOL_ATTACKS}
    assert {name: dict(card.agents) for name, card in ATTACKS.items() if card.agents} == {
        "direct": {"Llama-3-8B": (58.0, 8.0)},
        "forced_call": {"Llama-3-8B": (82.0, 14.0)},
    }


def test_samples_of_harmful_requests_are_known_by_their_names():
    names = ("direct", tool_sample("forced_call"), "benign", tool_sample("borderline"))
    assert [is_harmful_sample(name) for name in names] == [True, True, False, False]
