"""Evaluate where kept abilities alone were measured: they are all that is shown, and nothing is claimed of requests."""

from test_evaluate_agents import drawn, made_run

from engine.records.evaluation.counts import count
from engine.records.evaluation.findings import Ability, Evaluation, write_evaluation
from engine.records.settings import Settings
from workbench.evaluate.kept import KEPT
from workbench.evaluate.samples import NO_REQUESTS, NOT_HERE

__all__ = ["drawn"]


def written(settings: Settings, name: str, ability: Ability) -> str:
    """What the page calls it."""
    run = made_run(settings)
    run.set_label(name=name, note="")
    found = Evaluation(key="a" * 12, run=run.id, abilities=(ability,))
    write_evaluation(run, settings, found, [])
    return f"{run.id}.{found.key}"


def test_questions_alone_are_shown_of_two_runs_without_a_matrix(settings, drawn):
    rates = {"first": 0.25, "second": 0.75}
    both = [written(settings, name, Ability(name="arc", base=0.5, rerouted=rates[name], n=40)) for name in rates]
    page = drawn()
    assert not page.exception and not page.error
    chosen = page.multiselect(key="evaluations")
    assert len(chosen.options) == 2 and all("kept: arc" in one and "n 0" not in one for one in chosen.options)
    page = chosen.set_value(both).run()
    assert not page.exception
    headings = [one.value for one in page.subheader]
    assert headings == [KEPT, "Samples"]
    table = next(one.proto.body for one in page.get("html") if "ARC" in one.proto.body)
    assert "25.0 %" in table and "75.0 %" in table and "kept abilities alone" in table
    assert NO_REQUESTS in [one.value for one in page.caption]


def test_answers_of_an_ability_that_asks_are_missed_where_they_are_not_here(settings, drawn):
    counts = {side: count(["complied", "refused"]) for side in ("base", "rerouted")}
    written(settings, "passed on", Ability(name="borderline", base=0.5, rerouted=0.5, n=2, counts=counts))
    page = drawn()
    assert not page.exception and NOT_HERE in [one.value for one in page.caption]
