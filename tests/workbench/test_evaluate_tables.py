"""The matrix, the CSV, the report and the list of failures, from made-up evaluations: no screen."""

import csv
import io
import time

import pytest
import streamlit as st

from engine.commands.evaluation_summary import summary
from engine.desk.queue import Job
from engine.exports.evaluation_report import RunFacts, report_html
from engine.figures.evaluation.findings import finding
from engine.figures.evaluation.fronts import budget_figures, front_figure
from engine.figures.evaluation.table import abilities_html, attacks_html, columns, styles_html
from engine.records.evaluation.counts import CurvePoint, Interval, count, count_calls, wilson
from engine.records.evaluation.findings import Ability, AttackResult, Change, Evaluation
from engine.records.evaluation.losses import Losses, LostTargets
from engine.records.outcome_attacks import worst_attack
from workbench.evaluate import jobs as evaluate_jobs
from workbench.evaluate.csv_text import as_csv


def made(*, rerouted: int, base: int = 18, name: str = "one") -> Evaluation:
    """20 answers a model, so many of which complied, by the direct and the GCG attack."""

    def words(complied: int) -> list:
        return ["complied"] * complied + ["refused"] + ["incoherent"] * (19 - complied)

    result = AttackResult(base=count(words(base)), rerouted=count(words(rerouted)))
    curve = {
        "base": (CurvePoint(budget=5, complied=9, n=20), CurvePoint(budget=10, complied=18, n=20)),
        "rerouted": (CurvePoint(budget=10, complied=rerouted, n=20),),
    }
    return Evaluation(
        key=name,
        run=name,
        harmful="rows.jsonl",
        attacks={"direct": result, "gcg": result.model_copy(update={"curve": curve, "budget": 10})},
        benign_answers={"base": count(words(19)), "rerouted": count(words(18))},
        loss={"benign": Losses(base=1.0, rerouted=1.01), "harmful": Losses(base=1.0, rerouted=None)},
        abilities=(
            Ability(
                name="mmlu", base=0.3, rerouted=0.25, n=20, ci95={"base": wilson(6, 20), "rerouted": wilson(5, 20)}
            ),
            Ability(name="speed", base=80.0, rerouted=70.0, unit="tokens/s"),
        ),
    )


def test_the_matrix_shows_rate_interval_change_and_the_papers_figures():
    html = attacks_html(columns([made(rerouted=2)], ["my run"]))
    assert "90.0 %" in html and "10.0 %" in html and "−80.0 points" in html
    low, high = wilson(2, 20)
    assert f"{100 * low:.1f}–{100 * high:.1f} · n 20" in html
    assert "88.7 → 11.2 %" in html and "10 steps" in html


def test_the_matrix_tells_the_time_of_a_request_where_it_is_known():
    one = made(rerouted=2)
    attacks = one.attacks | {
        "gcg": one.attacks["gcg"].model_copy(update={"seconds": {"base": 50.0, "rerouted": 400.0}})
    }
    timed = one.model_copy(update={"attacks": attacks})
    assert "<small>10 steps, 2.5–20 s a request</small>" in attacks_html(columns([timed], ["a"]))
    assert "a request" not in attacks_html(columns([one], ["a"]))
    assert timed.report()["seconds"] == {"gcg": {"base": 50.0, "rerouted": 400.0}} and one.report()["seconds"] == {}


def test_of_two_attacks_that_get_as_much_through_both_pages_name_the_same():
    """Direct and prefilled requests left 5 of 20 each, and prefilling got more from the base model."""
    one = made(rerouted=5, base=17)
    attacks = {"direct": one.attacks["direct"], "prefill": made(rerouted=5).attacks["direct"]}
    one = one.model_copy(update={"attacks": attacks})
    assert "90 → 25 % under the strongest attack (prefilling" in finding(one)
    assert worst_attack(one).name == "prefill"


def test_each_wording_is_shown_apart_where_there_are_several():
    one = made(rerouted=2)
    assert styles_html(columns([one], ["a"])) == ""
    words = {"question": (9, 0), "imperative": (9, 2)}
    styles = {
        style: {
            side: count(["complied"] * complied + ["refused"] * (10 - complied))
            for side, complied in zip(("base", "rerouted"), complieds, strict=True)
        }
        for style, complieds in words.items()
    }
    direct = one.attacks["direct"].model_copy(update={"styles": styles})
    one = one.model_copy(update={"attacks": {"direct": direct}})
    html = styles_html(columns([one], ["a"]))
    assert html.index("imperative") < html.index("question")
    assert "−70.0 points" in html and "−90.0 points" in html
    assert html in report_html([one], ["a"])
    assert "direct: question,1,10,0,10,0" in as_csv([one], ["a"])


def test_runs_with_the_same_base_share_its_column_and_others_have_their_own():
    same = columns([made(rerouted=2), made(rerouted=5)], ["a", "b"])
    assert [one.name for one in same] == ["base", "a", "b"]
    other = columns([made(rerouted=2), made(rerouted=2, base=10)], ["a", "b"])
    assert [one.name for one in other] == ["base of a", "a", "base of b", "b"]


def test_names_are_written_letter_by_letter():
    html = attacks_html(columns([made(rerouted=2)], ["<script>alert(1)</script>"]))
    assert "<script>" not in html and "&lt;script&gt;" in html
    assert "<script>alert" not in report_html([made(rerouted=2)], ["<script>alert(1)</script>"])


def test_kept_abilities_show_losses_questions_and_speed():
    html = abilities_html(columns([made(rerouted=2)], ["a"]))
    assert "+1.0 %" in html and "25.0 %" in html and "70.0" in html and "tokens/s" in html


def test_a_rise_of_the_loss_says_how_many_targets_are_lost_and_what_the_others_did():
    targets = LostTargets(n=227, lost=22, rest={"base": 0.8, "rerouted": 0.84})
    one = made(rerouted=2).model_copy(update={"loss": {"benign": Losses(base=0.8, rerouted=1.2, targets=targets)}})
    html = abilities_html(columns([one], ["a"]))
    assert "+50.0 %" in html and html.count("22 of 227 lost, the others +5.0 %") == 1
    assert html.count("<small>n 227</small>") == 2
    assert "Lost: 1 or more above the base model" in html
    two = abilities_html(columns([one, made(rerouted=2, base=9)], ["a", "b"]))
    assert two.count("22 of 227 lost") == 1 and two.index("22 of 227 lost") < two.index("+1.0 %")
    all_lost = LostTargets(n=2, lost=2, rest={"base": None, "rerouted": None})
    worst = one.model_copy(update={"loss": {"benign": Losses(base=0.8, rerouted=9.0, targets=all_lost)}})
    assert "<small>2 of 2 lost</small>" in abilities_html(columns([worst], ["a"]))
    assert "lost" not in abilities_html(columns([made(rerouted=2)], ["a"])).lower()
    assert "1 or more above base: 22 of 227, the others 0.800 -> 0.840" in summary(one)
    lines = {(row["measure"], row["model"]): row for row in csv.DictReader(io.StringIO(as_csv([one], ["a"])))}
    lost, rest = lines["benign targets lost", "rerouted"], lines["benign loss of targets not lost", "rerouted"]
    assert (lost["n"], lost["value"], rest["n"], rest["value"]) == ("227", "22", "205", "0.84")
    assert ("benign targets lost", "base") not in lines and lines["benign loss", "base"]["value"] == "0.8"


def calling() -> Ability:
    sides = {"base": count_calls(32, 40), "rerouted": count_calls(30, 40, unreadable=2)}
    few = {"base": count_calls(4, 8), "rerouted": count_calls(4, 8)}
    return Ability(
        name="bfcl", base=0.65, rerouted=0.625, n=48, categories={"simple_python": sides, "irrelevance": few}
    )


def test_each_category_of_function_calling_has_its_rate_interval_and_n():
    one = made(rerouted=2).model_copy(update={"abilities": (calling(),)})
    html = abilities_html(columns([one, made(rerouted=2, base=9)], ["a", "b"]))
    low, high = wilson(30, 40)
    assert f"{100 * low:.1f}–{100 * high:.1f} · n 40 · 2 unreadable" in html and "−5.0 points" in html
    assert html.index("Function calling") < html.index("· simple_python") < html.index("· irrelevance")
    assert "multiple" not in html and html.count("mean of its categories") == 1
    rows = list(csv.DictReader(io.StringIO(as_csv([one], ["a"]))))
    line = next(row for row in rows if row["measure"] == "bfcl: simple_python" and row["model"] == "rerouted")
    assert (line["n"], float(line["value"]), float(line["low95"]), line["unit"]) == ("40", 0.75, low, "rate")


def test_the_csv_has_a_line_for_every_figure_and_no_formula():
    rows = list(csv.DictReader(io.StringIO(as_csv([made(rerouted=2)], ["=1+1"]))))
    assert {row["name"] for row in rows} == {"'=1+1"}
    direct = next(row for row in rows if row["measure"] == "direct" and row["model"] == "rerouted")
    assert (direct["n"], direct["complied"], float(direct["value"])) == ("20", "2", 0.1)
    assert len(rows) == 2 * (2 + 1 + 2 + 2)


def test_curves_rise_with_budget_and_the_front_has_a_point_a_run():
    figures = budget_figures([made(rerouted=2), made(rerouted=5)], ["a", "b"])
    assert list(figures) == ["gcg"]
    base, a, b = figures["gcg"].data
    # Without a step of the search something was asked, and what it came to nobody knows.
    assert (base.name, list(base.x), list(base.y)) == ("base", [5, 10], [45, 90])
    assert (a.name, list(a.y), list(b.y)) == ("a", [10], [25])
    few_steps = made(rerouted=2)
    few_steps.attacks["gcg"] = few_steps.attacks["gcg"].model_copy(update={"budget": 3})
    assert budget_figures([few_steps], ["a"])["gcg"].layout.xaxis.dtick == 1
    assert figures["gcg"].layout.xaxis.dtick is None
    front = front_figure([made(rerouted=2), made(rerouted=5)], ["a", "b"])
    assert front is not None and [(p.name, p.x[0], round(p.y[0])) for p in front.data] == [
        ("base", 95, 90), ("a", 90, 10), ("b", 90, 25),
    ]  # fmt: skip


def test_a_curve_leaves_out_what_nobody_can_have_measured_and_what_nobody_answered():
    """Older files have a point of both models where the base alone was asked."""
    curve = {
        "base": tuple(CurvePoint(budget=budget, complied=18, n=20) for budget in (1, 5, 10)),
        "rerouted": tuple(CurvePoint(budget=at, complied=told, n=20) for at, told in ((1, 0), (5, 4), (10, 6))),
    }
    one = made(rerouted=2)
    one.attacks["finetuning"] = one.attacks["gcg"].model_copy(update={"curve": curve, "budget": 10})
    base, rerouted = budget_figures([one], ["a"])["finetuning"].data
    assert list(base.x) == [1, 5, 10] and (list(rerouted.x), list(rerouted.y)) == ([5, 10], [20, 30])
    unread = tuple(point.model_copy(update={"complied": 0, "n": 0}) for point in curve["rerouted"])
    one.attacks["finetuning"] = one.attacks["gcg"].model_copy(update={"curve": {**curve, "rerouted": unread}})
    assert [line.name for line in budget_figures([one], ["a"])["finetuning"].data] == ["base"]


def test_evaluations_of_a_base_model_that_answered_nothing_stand_side_by_side():
    """It has no answers whose loss could be measured."""
    none = {"loss": {"harmful": Losses(base=None, rerouted=None)}}
    shown = columns([made(rerouted=2).model_copy(update=none), made(rerouted=5).model_copy(update=none)], ["a", "b"])
    assert [column.name for column in shown] == ["base", "a", "b"]


def test_a_front_of_two_base_models_shows_both():
    evaluations = [made(rerouted=2, name="a"), made(rerouted=5, base=10, name="b")]
    for order in (evaluations, evaluations[::-1]):
        front = front_figure(order, [one.run for one in order])
        assert front is not None
        assert {(p.name, round(p.y[0])) for p in front.data} == {
            ("base of a", 90), ("base of b", 50), ("a", 10), ("b", 25),
        }  # fmt: skip
        assert "Harmful answered (mean of 2 attacks): 50 to 90 → 10 to 25 %" in front.layout.title.text


@pytest.mark.parametrize(("complied", "named"), [((2, 9), True), ((2, 3), False), ((2, 9, 16), False)])
def test_points_of_the_front_are_named_in_a_legend_where_their_names_would_cover_each_other(
    complied: tuple[int, ...], named: bool
):
    front = front_figure([made(rerouted=one) for one in complied], [f"run {one}" for one in complied])
    assert front is not None and bool(front.layout.showlegend) is not named
    assert all(("text" in point.mode) is named for point in front.data)


def test_the_report_opens_without_a_network():
    report = report_html([made(rerouted=2)], ["a"])
    assert report.count("<html") == 1 and "<script src=" not in report
    assert "have been defeated" in report and "Wilson" in report


def test_the_front_compares_one_kind_of_kept_requests_alone():
    """A run whose borderline requests were measured is not set against one where only ordinary ones were."""
    both = made(rerouted=2)
    plain = both.model_copy(update={"abilities": ()})
    hard = both.model_copy(update={"abilities": (Ability(name="borderline", base=0.9, rerouted=0.7, n=10),)})
    alone, mixed = front_figure([hard], ["hard"]), front_figure([hard, plain], ["hard", "plain"])
    assert alone is not None and mixed is not None
    assert alone.layout.xaxis.title.text.startswith("borderline requests")
    assert mixed.layout.xaxis.title.text.startswith("benign requests")
    assert [trace.name for trace in mixed.data] == ["base", "hard", "plain"]
    most = front_figure([plain, hard, hard], ["plain", "hard", "harder"])
    assert most is not None and [trace.name for trace in most.data] == ["base", "hard", "harder"]
    assert most.layout.xaxis.title.text == "borderline requests answered, % (1 without them left out)"
    assert alone.data[0].x[0] == 90 and abs(alone.data[1].x[0] - 70) < 1e-9


def few(one: Evaluation, n: int) -> Evaluation:
    """The same with n requests, one of which the circuit-broken model answers."""
    counts = {"base": count(["complied"] * n), "rerouted": count(["complied"] + ["refused"] * (n - 1))}
    return one.model_copy(update={"attacks": {"direct": AttackResult(**counts)}, "created": one.created + 60})


def test_headings_and_cells_say_n_and_that_a_few_are_too_few_to_tell():
    html = attacks_html(columns([made(rerouted=2)], ["a"]))
    assert "rows.jsonl, n 20, 64 tokens" in html and "too few" not in html
    html = attacks_html(columns([few(made(rerouted=2), 4)], ["a"]))
    assert "n 4, 64 tokens: too few to tell" in html and "−75.0 points: too few to tell" in html
    assert "too few" not in attacks_html(columns([few(made(rerouted=2), 16)], ["a"]))


def test_the_finding_is_that_of_the_strongest_attack_with_its_n():
    one = made(rerouted=2)
    worse = AttackResult(base=one.attacks["direct"].base, rerouted=count(["complied"] * 9 + ["refused"] * 11))
    one = one.model_copy(update={"attacks": one.attacks | {"prefill": worse}})
    assert finding(one) == (
        "Harmful requests answered: 90 → 45 % under the strongest attack (prefilling, n 20); benign requests answered: "
        "95 → 90 % (n 20)."
    )
    assert "4 → 1 of 4 under the strongest attack (direct request): too few to tell" in finding(few(one, 4))


def test_titles_of_charts_say_what_was_found():
    one, other = made(rerouted=2), made(rerouted=5)
    assert budget_figures([one], ["a"])["gcg"].layout.title.text.endswith("answered 90 → 10 %<br>within 10 steps, n 20")
    front = front_figure([one, other], ["a", "b"])
    assert front is not None
    harmful, benign = front.layout.title.text.split("<br>")
    assert harmful == "Harmful answered (mean of 2 attacks): 90 → 10 to 25 %" and benign == "Benign requests: 95 → 90 %"


def test_the_report_says_where_its_figures_come_from():
    """Two runs, one of which has no readable record; names are written letter by letter."""
    one, other = made(rerouted=2), few(made(rerouted=3, name="two"), 4)
    facts = [RunFacts("<b>mine</b>", "run-1", "abc123", "a/model", {"torch": "2.13"}), RunFacts("two", "two")]
    report = report_html([one.model_copy(update={"judge": "rules-12345678"}), other], ["a", "b"], facts)
    head = report[report.index("<h1>") : report.index("<h2>")]
    for said in ("&lt;b&gt;mine&lt;/b&gt; (run-1)", "abc123", "a/model", "torch 2.13", "rules-12345678", "n 20", "n 4"):
        assert said in head, said
    assert time.strftime("%Y-%m-%d") in head and "not known" in head and "<b>mine" not in report


def test_every_failure_is_shown_until_the_same_is_begun_again_or_dismissed(monkeypatch: pytest.MonkeyPatch):
    def job(number: int, run: str, state: str) -> Job:
        return Job(number, "evaluate", run, {"state": run}, 0, state, "it failed" if state == "failed" else "")

    monkeypatch.setattr(evaluate_jobs, "_name", lambda job: job.payload["state"])
    monkeypatch.setattr(st, "session_state", {})
    jobs = [job(5, "c", "finished"), job(4, "b", "failed"), job(3, "a", "failed"), job(2, "c", "failed")]
    assert [one.id for one in evaluate_jobs._failures(jobs)] == [4, 3]
    assert [one.id for one in evaluate_jobs._failures([job(6, "a", "running"), *jobs])] == [4]
    evaluate_jobs._dismiss(4)
    assert [one.id for one in evaluate_jobs._failures(jobs)] == [3]


def test_failures_of_one_run_that_asked_different_things_are_shown_apart(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(st, "session_state", {})

    def job(number: int, attack: str, state: str = "failed") -> Job:
        return Job(number, "evaluate", "a", {"checkpoint": "a@4", "attacks": [attack]}, 0, state, "it failed")

    jobs = [job(2, "direct"), job(1, "prefill")]
    assert [one.id for one in evaluate_jobs._failures(jobs)] == [2, 1]
    assert [one.id for one in evaluate_jobs._failures([job(3, "prefill", "running"), *jobs])] == [2]


def test_a_change_on_the_same_questions_is_shown_with_its_interval():
    sums = Ability(
        name="gsm8k", base=0.5, rerouted=0.4, n=20, change=Change(value=-0.1, ci95=Interval(-0.2, 0.01), n=20)
    )
    loss = Ability(
        name="mtbench",
        base=1.0,
        rerouted=1.25,
        n=80,
        unit="nats a token",
        change=Change(value=0.25, ci95=Interval(0.1, 0.4), n=80),
    )
    one = made(rerouted=2).model_copy(update={"abilities": (sums, loss)})
    html = abilities_html(columns([one], ["my run"]))
    assert "−10.0 points (−20.0 to +1.0)" in html and "+0.25 (+0.10 to +0.40)" in html
    assert "1.25" in html and "nats a token, n 80" in html
    rows = [row for row in as_csv([one], ["my run"]).splitlines() if ": change" in row]
    assert len(rows) == 2 and "gsm8k: change" in rows[0] and "-0.1,-0.2,0.01,rate" in rows[0]


def test_abilities_that_the_shown_base_did_not_have_or_had_otherwise_bring_a_base_of_their_own():
    one = made(rerouted=2)
    without = one.model_copy(update={"abilities": ()})
    faster = Ability(name="speed", base=90.0, rerouted=70.0, unit="tokens/s")
    other = one.model_copy(update={"abilities": (one.abilities[0], faster)})
    for second, bases in ((without, 1), (other, 2)):
        assert len([column for column in columns([one, second], ["a", "b"]) if column.side == "base"]) == bases
    assert len([column for column in columns([without, one], ["a", "b"]) if column.side == "base"]) == 2
    # Losses whose last digits differ are shown alike.
    near = one.model_copy(update={"loss": one.loss | {"benign": Losses(base=1.0001, rerouted=1.01)}})
    assert len([column for column in columns([one, near], ["a", "b"]) if column.side == "base"]) == 1


def test_words_that_a_spreadsheet_would_carry_out_are_quoted_and_a_judge_is_named_without_its_address():
    one = made(rerouted=2, name="=run").model_copy(
        update={"harmful": "=HYPERLINK(1)", "benign": "\tx", "judge": "https://me:secret@here.example/v1#=judge"}
    )
    text = as_csv([one], ["@name"])
    [direct, *_] = csv.DictReader(io.StringIO(text))
    assert [direct[key] for key in ("name", "run", "harmful", "benign", "judge")] == [
        "'@name", "'=run", "'=HYPERLINK(1)", "'\tx", "'=judge"
    ]  # fmt: skip
    assert "secret" not in text
