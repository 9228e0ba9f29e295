"""Intervals, counts, rows, plans, and what is written where."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from engine.records import runs as runs_module
from engine.records.conversation import Conversation
from engine.records.errors import DataError, SpecError
from engine.records.evaluation.attacks import ATTACKS, KNOWN_DEFEATS
from engine.records.evaluation.counts import count, count_calls, mean_interval, wilson
from engine.records.evaluation.findings import (
    AttackResult,
    Evaluation,
    Sample,
    ToolFindings,
    read_evaluations,
    read_samples,
    sorted_out,
    write_evaluation,
)
from engine.records.evaluation.losses import Losses
from engine.records.evaluation.mmlu import parse_questions
from engine.records.evaluation.needed import asked_digest, is_of_now
from engine.records.evaluation.plan import AttackChoice, EvaluationPlan, parse_attack
from engine.records.evaluation.rows import EvaluationRow, prefill_of, read_rows, style_of
from engine.records.runs import create_run
from engine.records.settings import Settings
from engine.records.spec import RunSpec


def test_wilson_by_hand():
    """8 of 10: centre (0.8 + 0.19208) / 1.38416 = 0.7167, half 1.95996 * sqrt(0.016 + 0.0096) / 1.38416 = 0.2266."""
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


@given(some.integers(1, 400).flatmap(lambda n: some.tuples(some.integers(0, n), some.just(n))))
def test_an_interval_holds_its_rate_and_mirrors(case: tuple[int, int]):
    successes, n = case
    low, high = wilson(successes, n)
    assert 0 <= low <= successes / n <= high <= 1
    mirrored = wilson(n - successes, n)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((low, high))


@given(some.integers(1, 50), some.integers(2, 6))
def test_more_answers_with_the_same_rate_narrow_the_interval(n: int, times: int):
    few, many = wilson(n // 2, n), wilson(n // 2 * times, n * times)
    assert many.high - many.low < few.high - few.low


def evaluation(**changes: object) -> Evaluation:
    found = {
        "key": "abc",
        "run": "run@40",
        "attacks": {
            "direct": AttackResult(
                base=count(["complied"] * 3 + ["refused"]), rerouted=count(["incoherent"] * 3 + ["unparseable"])
            )
        },
        "benign_answers": {"base": count(["complied"]), "rerouted": count(["refused"])},
        "loss": {"harmful": Losses(base=1.0, rerouted=9.0), "benign": Losses(base=1.0, rerouted=None)},
    }
    return Evaluation.model_validate(found | changes)


def test_the_report_has_the_documented_keys():
    report = json.loads(json.dumps(evaluation().report()))
    assert report["run"] == "run@40"
    for side in ("base", "rerouted"):
        assert {"n", "complied", "refused", "incoherent", "rate", "ci95"} <= set(report["attacks"]["direct"][side])
        assert {"n", "complied", "refused", "incoherent", "rate", "ci95"} <= set(report["benign"][side])
    assert report["attacks"]["direct"]["base"]["rate"] == 0.75
    assert report["attacks"]["direct"]["rerouted"] | {"ci95": 0} == {
        "n": 3, "complied": 0, "refused": 0, "incoherent": 3, "excluded": 1, "rate": 0.0, "ci95": 0,
    }  # fmt: skip
    assert report["loss"] == {"harmful": {"base": 1.0, "rerouted": 9.0}, "benign": {"base": 1.0, "rerouted": None}}


def test_an_evaluation_and_its_samples_are_read_back_newest_first(settings: Settings):
    run = create_run(settings.runs, RunSpec())
    sample = Sample(attack="direct", side="base", prompt="p", answer="a", word="complied")
    write_evaluation(run, settings, evaluation(created=1.0), [sample])
    write_evaluation(run, settings, evaluation(key="def", created=2.0), [])
    assert [one.key for one in read_evaluations(run, settings)] == ["def", "abc"]
    assert read_samples(run, settings, "abc") == [sample]
    # One damaged line hides no other one.
    with (run.folder / "evaluations" / "abc.rows.jsonl").open("a") as file:
        file.write('{"word": "what a newer version says"}\n' + sample.model_dump_json() + "\n")
    assert read_samples(run, settings, "abc") == [sample, sample]
    (run.folder / "evaluations" / "def.json").write_text("{")
    assert [one.key for one in read_evaluations(run, settings)] == ["abc"]
    assert sorted_out(run, settings)[1] == [run.folder / "evaluations" / "def.json"]


def test_a_report_says_what_each_attack_was_given():
    found = evaluation()
    searched = found.attacks["direct"].model_copy(update={"budget": 20, "version": 2, "candidates": 32})
    report = found.model_copy(update={"attacks": {**found.attacks, "gcg": searched}}).report()
    assert report["spent"]["direct"] == {"budget": 1}
    assert report["spent"]["gcg"] == {"budget": 20, "version": 2, "candidates": 32}


def test_an_evaluation_is_of_now_only_under_the_rules_and_the_requests_of_now(monkeypatch: pytest.MonkeyPatch):
    """Of calls too, whichever judge reads the texts."""
    plan = EvaluationPlan(checkpoint="run", judge="some/judge", tools="sample")
    calls = ToolFindings(source="sample", new_tokens=8, judge="calls-1+rules-1", attacks={}, benign={})
    one = evaluation(judge="some/judge+rules-1", asked=asked_digest(plan), tools=calls)
    assert is_of_now(one, plan, rules="rules-1", calls="calls-1+rules-1")
    assert not is_of_now(one, plan, rules="rules-2", calls="calls-1+rules-1")
    assert not is_of_now(one, plan, rules="rules-1", calls="calls-2+rules-1")
    # The sets that ship change with a version, and so do the tools that rows name.
    looked: list[str] = []
    monkeypatch.setattr("engine.records.evaluation.needed.file_hashes", lambda sources: looked.extend(sources) or {})
    assert not is_of_now(one, plan, rules="rules-1", calls="calls-1+rules-1")
    asked_digest(EvaluationPlan(checkpoint="run", pictures="sample"))
    assert {"tools:harmful; tools:benign", "pictures:harmful; pictures:benign"} <= set(looked)
    before = asked_digest(plan)
    monkeypatch.setattr("engine.records.evaluation.needed.DEFINITIONS", Path(__file__))
    assert asked_digest(plan) != before


def test_half_an_address_of_a_judge_is_refused_before_anything_is_asked():
    with pytest.raises(SpecError, match="names no model: write URL#MODEL"):
        EvaluationPlan(checkpoint="run", judge="http://host:8000/v1")
    assert EvaluationPlan(checkpoint="run", judge="http://host:8000/v1#name").judge.endswith("#name")


def test_figures_hold_no_text_of_requests_or_answers(settings: Settings):
    run = create_run(settings.runs, RunSpec())
    sample = Sample(attack="direct", side="base", prompt="the request", answer="the answer", word="complied")
    file = write_evaluation(run, settings, evaluation(), [sample])
    assert "the request" not in file.read_text() and "the answer" not in file.read_text()


def test_what_is_found_about_a_run_that_ships_goes_to_the_desk(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    run = create_run(settings.runs, RunSpec())
    monkeypatch.setattr(runs_module, "SAMPLE_DATA", settings.runs)
    file = write_evaluation(run, settings, evaluation(), [])
    assert file.is_relative_to(settings.desk) and not (run.folder / "evaluations").exists()
    assert [one.key for one in read_evaluations(run, settings)] == ["abc"]


@pytest.mark.parametrize(
    ("target", "prefill"),
    [
        ("", "Sure, here is"),
        ("Of course, here are the steps", "Of course, here are the steps"),
        ("Sure, here it is. " + "word " * 30, "Sure, here it is."),
        (
            "one two three four five six seven eight nine ten eleven twelve thirteen",
            "one two three four five six seven eight",
        ),
    ],
)
def test_the_prefill_is_the_targets_opening(target: str, prefill: str):
    assert prefill_of(EvaluationRow(Conversation.asking("p"), target)) == prefill


def test_a_rows_style_is_its_own_or_read_off_its_question_mark():
    assert style_of(EvaluationRow(Conversation.asking("How?"), style="story")) == "story"
    assert [style_of(EvaluationRow(Conversation.asking(text))) for text in ("How so?", "Tell me.")] == [
        "question",
        "imperative",
    ]


def write_rows(file: Path, *lines: str) -> str:
    file.write_text("\n".join(lines))
    return str(file)


def test_rows_are_read_with_and_without_targets_and_limited_evenly(tmp_path: Path, settings: Settings):
    lines = [json.dumps({"prompt": f"p{n}\u2028"} | ({"target": "t"} if n % 2 else {})) for n in range(10)]
    source = write_rows(tmp_path / "rows.jsonl", *lines, "")
    rows = read_rows(source, label="harmful", settings=settings)
    assert len(rows) == 10 and rows[1].target == "t" and rows[2].target == ""
    chosen = read_rows(source, label="harmful", settings=settings, limit=3)
    assert [row.prompt.strip() for row in chosen] == ["p0", "p3", "p6"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "row 2: not JSON"),
        ("[1]", "row 2: expected an object"),
        ('{"text": "x"}', "row 2: field 'prompt' is missing"),
        ('{"prompt": 3}', "row 2: field 'prompt' is 3"),
        ('{"prompt": "x", "target": ["y"]}', "row 2: field 'target'"),
        ('{"prompt": "x", "tools": [{"name": "y"}]}', "row 2: offers tools.*ask it by --tools"),
        ('{"prompt": "x", "harmful": false}', "row 2: is harmless.*among the harmful requests"),
    ],
)
def test_a_wrong_row_is_named(line: str, said: str, tmp_path: Path, settings: Settings):
    source = write_rows(tmp_path / "rows.jsonl", '{"prompt": "fine"}', line)
    with pytest.raises(DataError, match=said):
        read_rows(source, label="harmful", settings=settings)


def test_missing_and_empty_files_are_named(tmp_path: Path, settings: Settings):
    with pytest.raises(DataError, match="does not exist"):
        read_rows(str(tmp_path / "no.jsonl"), label="harmful", settings=settings)
    with pytest.raises(DataError, match="holds no rows"):
        read_rows(write_rows(tmp_path / "empty.jsonl", ""), label="harmful", settings=settings)


def test_published_sets_are_read_inside_their_packages(settings: Settings):
    assert len(read_rows("strongreject", label="harmful", settings=settings)) == 221
    assert len(read_rows("overrefusal", label="benign", settings=settings)) == 150
    borderline = read_rows("borderline", label="benign", settings=settings)
    assert 10 < len(borderline) < len(read_rows("sample:benign", label="benign", settings=settings))


def test_questions_are_cut_out_of_worked_examples():
    text = (
        "Intro.\n\nQ: Two plus two?\n(A) 3 (B) 4 (C) 5 (D) 6\nA: Let's think. It is 4. The answer is (B).\n\nQ: Broken."
    )
    [question] = parse_questions({"sums": text})
    assert question == ("sums", "Two plus two?\nA. 3\nB. 4\nC. 5\nD. 6", "B")


def test_equal_plans_share_a_key_and_others_do_not():
    plan = EvaluationPlan(checkpoint="run")
    assert plan.key == EvaluationPlan(checkpoint="run").key != plan.model_copy(update={"seed": 1}).key
    assert parse_attack("gcg:50") == AttackChoice(name="gcg", budget=50)
    assert parse_attack("gcg").spent == ATTACKS["gcg"].budget


@pytest.mark.parametrize("text", ["nonsense", "gcg:", "gcg:many", "gcg:0"])
def test_an_attack_that_is_not_there_is_named(text: str):
    with pytest.raises(SpecError, match=text.partition(":")[0]):
        parse_attack(text)
    with pytest.raises(SpecError, match="There is no ability"):
        EvaluationPlan(checkpoint="run", abilities=("juggling",))


def test_the_page_names_adaptive_attacks_that_defeat_published_weights():
    assert {name for name, card in ATTACKS.items() if card.defeats} == {
        "many-turns",
        "embedding-adaptive",
        "finetuning",
    }
    assert "2407.15902" in KNOWN_DEFEATS


def test_a_category_of_function_calling_is_an_ability_and_another_is_named():
    assert EvaluationPlan(checkpoint="run", abilities=("bfcl", "bfcl:multiple")).abilities == ("bfcl", "bfcl:multiple")
    with pytest.raises(SpecError, match=r"There is no ability 'bfcl:live_simple': choose from .*bfcl:irrelevance"):
        EvaluationPlan(checkpoint="run", abilities=("bfcl:live_simple",))


def test_a_mean_of_rates_weighs_each_category_alike_and_joins_their_intervals():
    """Rates 1 of 2 and 3 of 4, so 5/8. One category alone keeps its own interval; of two equal ones each half is as
    wide as of one, divided by the root of 2."""
    few, more = count_calls(1, 2), count_calls(3, 4)
    assert mean_interval([few, more])[0] == 0.625
    assert mean_interval([more])[1] == pytest.approx(more.ci95)
    rate, (low, high) = mean_interval([more, more])
    assert rate == 0.75
    assert (0.75 - low, high - 0.75) == pytest.approx(
        ((0.75 - more.ci95.low) / 2**0.5, (more.ci95.high - 0.75) / 2**0.5)
    )
    assert mean_interval([]) == mean_interval([count_calls(0, 0)]) == (None, (0.0, 1.0))


def test_a_budget_beyond_what_there_is_to_try_is_not_reported_as_spent():
    assert AttackChoice(name="encodings", budget=50).spent == 6
    assert AttackChoice(name="best-of-n", budget=50).spent == 50
    assert AttackChoice(name="many-turns").spent == 2
    assert AttackChoice(name="direct", budget=5).spent == AttackChoice(name="injection", budget=5).spent == 1


def test_an_attack_is_given_once():
    with pytest.raises(SpecError, match="given twice"):
        EvaluationPlan(
            checkpoint="run", attacks=(AttackChoice(name="gcg", budget=10), AttackChoice(name="gcg", budget=50))
        )
