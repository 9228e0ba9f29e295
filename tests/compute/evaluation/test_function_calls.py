"""Function calling as a kept ability: questions out of a package, its own checker, and what is counted. The stand-in
package is written by the test; the real one is there as `make test` installs it."""

import copy
import json
import sys

import pytest
from making import TOOL_TEMPLATE, drain, write_tiny_model
from making_bfcl import LAMP, question, write_bfcl

from engine.compute.evaluation import runner
from engine.compute.evaluation.attacks.attempt import Attempt, Options
from engine.compute.evaluation.call_checker import call_checker
from engine.compute.evaluation.calls import call_counts, is_answered_rightly
from engine.compute.evaluation.runner import Memory, attempt_key, rules_judge
from engine.compute.model.load import load_model
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.text import text_ids
from engine.jobs.abilities import measure_abilities, need_abilities
from engine.jobs.subjects import subject_of
from engine.records.calls import ReadCalls, read_calls
from engine.records.conversation import Call
from engine.records.errors import DataError, ModelError
from engine.records.evaluation.bfcl import (
    CATEGORIES,
    PACKAGE,
    CallQuestion,
    chosen_categories,
    package_root,
    read_call_questions,
)
from engine.records.evaluation.counts import SIDES, wilson
from engine.records.evaluation.findings import Ability, Evaluation
from engine.records.evaluation.plan import EvaluationPlan
from engine.records.evaluation.rows import EvaluationRow
from engine.records.settings import Settings
from engine.records.spec_parts import ModelSpec


@pytest.fixture
def caller(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> LoadedModel:
    folder = write_tiny_model(tmp_path_factory.mktemp("caller"), chat_template=TOOL_TEMPLATE, context=4096)
    return load_model(ModelSpec(name=str(folder)), settings)


def everything(settings: Settings) -> list[CallQuestion]:
    return [one for category in CATEGORIES for one in read_call_questions(settings, category)]


def light(*rooms: str) -> list[Call]:
    return [Call(name="lamp.set", arguments={"room": room}) for room in rooms]


def listed(question: CallQuestion) -> list[Call]:
    """The first listed value of each argument; one that may be left out is."""

    def first(value):
        return (
            {name: first(next(one for one in some if one != "")) for name, some in value.items() if "" not in some}
            if isinstance(value, dict)
            else [first(one) for one in value]
            if isinstance(value, list)
            else value
        )

    return [Call(name=name, arguments=first(choices)) for call in question.right for name, choices in call.items()]


def test_functions_become_tools_with_their_own_names_and_valid_schemas(settings: Settings):
    write_bfcl(settings)
    [asked, *_] = read_call_questions(settings, "simple_python")
    [tool] = asked.conversation.tools
    assert asked.conversation.text == "Light the hall." and tool.name == "lamp.set"
    kinds = {name: one.get("type") for name, one in tool.parameters["properties"].items()}
    assert kinds == {"room": "string", "share": "number", "hours": "array", "more": "object"}
    assert tool.parameters["properties"]["more"]["properties"] == {"type": {}}
    # The checker is given what the package says.
    assert asked.functions == [LAMP]


def test_rows_are_taken_evenly_a_category(settings: Settings):
    write_bfcl(settings)
    assert [one.id for one in read_call_questions(settings, "simple_python", limit=2)] == [
        "simple_python_0",
        "simple_python_2",
    ]
    assert chosen_categories(("bfcl:multiple", "speed")) == ("multiple",)
    assert chosen_categories(("bfcl:multiple", "bfcl")) == tuple(CATEGORIES)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"question": [], "function": [LAMP]}, "row 1: field 'question' is \\[\\]"),
        ({"question": [[{"role": "nobody", "content": "x"}]], "function": [LAMP]}, "row 1: field 'question'"),
        (question("x"), "row 1: field 'function' is \\[\\]"),
        (question("x", {"name": "f", "parameters": {"type": "dict", "properties": {"a": {"type": "odd"}}}}), "'odd'"),
        (question("x", {"name": "f", "parameters": {"type": "dict", "required": "a"}}), "row 1.*no JSON schema"),
        (question("x", {"name": "", "parameters": {}}), "row 1: function\\[0\\]: name is ''"),
        ({**question("x", LAMP), "id": "another"}, "no right answer is listed for 'another'"),
    ],
)
def test_a_package_of_another_form_is_refused_with_row_and_value(row, said, settings: Settings):
    write_bfcl(settings, simple_python=[row])
    with pytest.raises(DataError, match=said):
        read_call_questions(settings, "simple_python")


def test_the_checker_is_taken_from_the_package_and_nothing_of_it_stays(settings: Settings):
    folder = write_bfcl(settings)
    loaded, path, importers = set(sys.modules), list(sys.path), set(sys.path_importer_cache)
    checker = call_checker(package_root(settings))
    assert (set(sys.modules), sys.path, set(sys.path_importer_cache)) == (loaded, path, importers)
    assert not list(folder.rglob("__pycache__"))
    [asked] = read_call_questions(settings, "parallel")
    assert checker(asked, light("hall", "attic"))
    assert not checker(asked, light("hall")) and not checker(asked, light("hall", "cellar"))


@pytest.mark.parametrize(
    ("checker", "said"),
    [
        ("import another_library_that_nobody_installs", "No module named 'another_library"),
        ("def another_name(): ...", "ast_checker"),
        ("raise SystemError('told')", "told"),
        ("def ast_checker(*_): return {'valid': True}", "cannot tell right calls"),
        ("def ast_checker(*_): return {'valid': False}", "cannot tell right calls"),
        ("def ast_checker(one): ...", "cannot tell right calls"),
    ],
)
def test_a_checker_of_another_form_is_refused_in_words(checker: str, said: str, settings: Settings):
    write_bfcl(settings, checker=checker)
    loaded = set(sys.modules)
    with pytest.raises(DataError, match=f"{said}.*use {PACKAGE}"):
        call_checker(package_root(settings))
    assert set(sys.modules) == loaded


def test_a_broken_call_makes_an_answer_wrong_and_where_none_fits_none_may_be_read(settings: Settings):
    write_bfcl(settings)
    checker = call_checker(package_root(settings))
    one, none = read_call_questions(settings, "simple_python")[0], read_call_questions(settings, "irrelevance")[0]
    good = tuple(light("hall"))
    assert is_answered_rightly(one, ReadCalls("", good), checker)
    assert not is_answered_rightly(one, ReadCalls("", good, "It breaks off."), checker)
    assert not is_answered_rightly(one, ReadCalls("I light it."), checker)
    assert is_answered_rightly(none, ReadCalls("Very tall."), checker)
    assert is_answered_rightly(none, read_calls('<tool_call>{"name": "ring", "argum'), checker)
    assert not is_answered_rightly(none, ReadCalls("", good), checker)


def test_each_category_is_counted_apart_with_what_cannot_be_read(caller: LoadedModel, settings: Settings, tmp_path):
    """Remembered answers: of four single calls two are right, one has another room, one is cut off."""
    write_bfcl(settings)
    questions = everything(settings)
    said = {one.id: "".join(_written(call) for call in listed(one)) or "Very tall." for one in questions}
    said |= {
        "simple_python_2": _written(*light("roof")),
        "simple_python_3": '<tool_call>{"name": "lamp.set", "arguments": {"room": "sh',
        "multiple_0": "Ding!",
        "irrelevance_1": _written(*light("zoo")),
    }
    memory = Memory(tmp_path / "remembered.jsonl")
    memory.add_attempts(
        {
            attempt_key("direct", Options(1, new_tokens=99), EvaluationRow(one.conversation)): [
                Attempt(1, (), tuple(text_ids(caller, said[one.id])))
            ]
            for one in questions
        }
    )
    steps = call_counts(caller, None, questions, call_checker(package_root(settings)), new_tokens=99, memory=memory)
    told, counts = drain(steps)
    assert told[-1] == len(questions) == 10
    assert {name: (one.right, one.n, one.unreadable) for name, one in counts.items()} == {
        "simple_python": (2, 4, 1),
        "multiple": (1, 2, 0),
        "parallel": (1, 1, 0),
        "parallel_multiple": (1, 1, 0),
        "irrelevance": (1, 2, 0),
    }
    assert counts["simple_python"].rate == 0.5 and counts["simple_python"].ci95 == wilson(2, 4)


def test_both_models_are_asked_once_and_the_report_holds_every_category(
    caller: LoadedModel, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    write_bfcl(settings)
    plan = EvaluationPlan(checkpoint="run", abilities=("bfcl:simple_python", "bfcl:irrelevance"), limit=3, new_tokens=4)
    monkeypatch.setattr("engine.jobs.abilities.NEW_TOKENS", 4)
    need_abilities(plan, caller, settings)

    def measured():
        subjects = [subject_of(side, caller, None, settings) for side in SIDES]
        return drain(measure_abilities(plan, [], subjects, rules_judge(), settings, {}))[1]

    [found] = measured()
    written = json.loads(json.dumps(Evaluation(key="k", run="r", abilities=(found,)).report()))
    ability = written["abilities"]["bfcl"]
    assert ability["n"] == 5 and ability["base"] == ability["rerouted"] and "categories" not in ability
    categories = [ability[name] for name in ("simple_python", "irrelevance")]
    assert categories[1]["base"].keys() == {"n", "right", "unreadable", "rate", "ci95"}
    assert [sides["rerouted"]["n"] for sides in categories] == [3, 2]
    mean = sum(sides["base"]["rate"] for sides in categories) / 2
    assert ability["base"] == pytest.approx(mean)
    monkeypatch.setattr(runner, "_on_each", None)
    assert measured() == (found,)


def test_other_abilities_are_written_as_before():
    assert "categories" not in Ability(name="speed", base=1.0, rerouted=1.0).model_dump(mode="json")


def test_a_template_without_tools_and_a_context_without_room_are_told_before_any_attack(
    tiny_model: LoadedModel, caller: LoadedModel, settings: Settings
):
    write_bfcl(settings)
    with pytest.raises(ModelError, match="leaves the tools out"):
        need_abilities(EvaluationPlan(checkpoint="run", abilities=("bfcl",)), tiny_model, settings)
    with pytest.raises(ModelError, match=r"more than .* can read"):
        need_abilities(EvaluationPlan(checkpoint="run", abilities=("bfcl",), new_tokens=4000), caller, settings)
    need_abilities(EvaluationPlan(checkpoint="run", abilities=("speed",)), tiny_model, settings)


def test_of_the_real_package_listed_answers_are_right_and_changed_ones_never(settings: Settings):
    checker = call_checker(package_root(settings))
    counts = {"simple_python": 400, "multiple": 200, "parallel": 200, "parallel_multiple": 200, "irrelevance": 240}
    for category, n in counts.items():
        questions = read_call_questions(settings, category)
        assert len(questions) == n
        if category == "irrelevance":
            assert not any(one.right for one in questions)
            continue
        right = [one for one in questions if checker(one, listed(one))]
        assert len(right) / n > 0.95, category
        for one in questions:
            calls = listed(one)
            other = [call.model_copy(update={"name": f"{call.name}_"}) for call in calls]
            more = [call.model_copy(update={"arguments": {**call.arguments, "made_up": 1}}) for call in calls]
            for wrong in ([], other, more, calls[1:], [*calls, calls[0]]):
                assert not checker(one, wrong), one.id


def test_what_is_handed_to_the_checker_stays_as_it_was(settings: Settings):
    checker = call_checker(package_root(settings))
    one = read_call_questions(settings, "multiple")[0]
    before = copy.deepcopy(one)
    checker(one, listed(one))
    assert one == before


def _written(*calls: Call) -> str:
    return "".join(
        f"<tool_call>{json.dumps({'name': call.name, 'arguments': call.arguments})}</tool_call>" for call in calls
    )
