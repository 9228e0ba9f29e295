"""An evaluation of requests that show pictures, on Evaluate: a block of its own beside the paper's figures, nothing is
claimed of texts, and harmful answers stay hidden."""

from test_evaluate_agents import drawn, made_run, words

from engine.exports.evaluation_report import report_html
from engine.figures.evaluation.findings import asked_text, requests_asked
from engine.figures.evaluation.pictures import pictures_finding, pictures_html
from engine.records.evaluation.findings import AttackResult, Evaluation, Sample, PictureFindings, write_evaluation
from workbench.evaluate.csv_text import as_csv

__all__ = ["drawn"]


def pictures_alone(name: str = "one") -> Evaluation:
    found = PictureFindings(
        source="seen.jsonl",
        judge="rules",
        attacks={
            "direct": AttackResult(base=words(10), rerouted=words(2)),
            "pgd": AttackResult(base=words(18), rerouted=words(4), budget=100),
        },
        benign={"base": words(16), "rerouted": words(15)},
    )
    return Evaluation(key=name, run=name, pictures=found)


def test_the_table_shows_pictures_beside_the_papers_own_figures():
    html = pictures_html([pictures_alone()], ["my run"])
    assert "50.0 %" in html and "10.0 %" in html and "80 % of base" in html and "94 % of base" in html
    assert "77.4 → 2.3 %" in html and "91 → 14.3 %" in html and "100 steps" in html
    assert pictures_html([Evaluation(key="k", run="r")], ["text alone"]) == ""


def test_the_sentence_names_the_strongest_attack_on_pictures_and_what_was_kept():
    assert pictures_finding(pictures_alone()) == (
        "Harmful requests that show a picture answered: 90 → 20 % under the strongest attack (pixels (pgd), n 20); "
        "benign ones answered: 80 → 75 % (n 20)."
    )
    assert pictures_finding(Evaluation(key="k", run="r")) == ""


def test_two_evaluations_share_a_base_column_and_the_csv_has_their_rows():
    two = [pictures_alone("a"), pictures_alone("b")]
    assert pictures_html(two, ["a", "b"]).count("<th>base") == 1
    rows = as_csv(two, ["a", "b"]).splitlines()
    assert sum("pictures: pgd" in row for row in rows) == 4 and sum("pictures: benign" in row for row in rows) == 4


def test_what_was_asked_is_told_of_pictures():
    one = pictures_alone()
    assert requests_asked(one) == 20 and not asked_text(one)
    report = report_html([one], ["one"])
    assert "<h2>Pictures</h2>" in report and "pixels (pgd), n 20" in report
    assert "n 20, seen.jsonl" in report and "rows that show pictures seen.jsonl" in report


def test_the_page_opens_and_hides_harmful_answers_to_pictures(settings, drawn):
    run = made_run(settings)
    samples = [
        Sample(attack=f"pictures: {name}", side=side, prompt="what was asked", answer="what was said", word="complied")
        for side in ("base", "rerouted")
        for name in ("direct", "pgd")
    ]
    write_evaluation(run, settings, pictures_alone(run.id), samples)
    page = drawn()
    assert not page.exception and not page.error
    shown = " ".join(one.value for one in (*page.markdown, *page.subheader, *page.caption)).replace("\\", "")
    assert "Harmful requests with pictures that were answered" in shown and "pixels (pgd), n 20" in shown
    assert "what was said" not in shown and "what was asked" not in shown
