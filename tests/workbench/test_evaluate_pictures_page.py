"""An evaluation of requests that show pictures, on a page that has no tables for it yet: nothing breaks, nothing is
claimed of texts, and harmful answers stay hidden."""

from test_evaluate_agents import drawn, made_run, words

from engine.exports.evaluation_report import report_html
from engine.figures.evaluation.findings import asked_text, requests_asked
from engine.records.evaluation.findings import AttackResult, Evaluation, Sample, SidedFindings, write_evaluation

__all__ = ["drawn"]


def pictures_alone(name: str = "one") -> Evaluation:
    found = SidedFindings(
        source="seen.jsonl",
        judge="rules",
        attacks={"direct": AttackResult(base=words(10), rerouted=words(2))},
        benign={"base": words(16), "rerouted": words(15)},
    )
    return Evaluation(key=name, run=name, pictures=found)


def test_what_was_asked_is_told_of_pictures():
    one = pictures_alone()
    assert requests_asked(one) == 20 and not asked_text(one)
    report = report_html([one], ["one"])
    assert "n 20, seen.jsonl" in report and "rows that show pictures seen.jsonl" in report


def test_the_page_opens_and_hides_harmful_answers_to_pictures(settings, drawn):
    run = made_run(settings)
    samples = [
        Sample(attack=f"pictures: {name}", side=side, prompt="the request", answer="the answer", word="complied")
        for side in ("base", "rerouted")
        for name in ("direct", "pgd")
    ]
    write_evaluation(run, settings, pictures_alone(run.id), samples)
    page = drawn()
    assert not page.exception and not page.error
    shown = " ".join(one.value for one in (*page.markdown, *page.subheader, *page.caption)).replace("\\", "")
    assert "the answer" not in shown and "the request" not in shown
