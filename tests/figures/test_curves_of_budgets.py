"""Curves of successes by budget draw what was measured on each model, and no more."""

from making_runs import shipped_default

from engine.figures.evaluation.fronts import budget_figures
from engine.records.evaluation.counts import CurvePoint, count
from engine.records.evaluation.findings import AttackResult, Evaluation, read_evaluations
from engine.records.settings import read_settings

REFUSED = count(["refused"] * 4)


def test_a_shipped_search_has_no_point_at_a_budget_at_which_that_model_was_not_answered():
    """The base model complied at the first step, where the circuit-broken one was not asked."""
    run = shipped_default()
    [found] = [one for one in read_evaluations(run, read_settings()) if "finetuning" in one.attacks]
    assert [point.budget for point in found.attacks["finetuning"].curve["rerouted"]] == [1, 5, 10]
    figure = budget_figures([found], [run.name])["finetuning"]
    assert {trace.name: list(trace.x) for trace in figure.data} == {"base": [1, 5, 10], run.name: [5, 10]}


def test_nothing_is_drawn_of_a_model_that_no_row_was_asked_of():
    def points(n: int) -> tuple[CurvePoint, ...]:
        return tuple(CurvePoint(budget=budget, complied=0, n=n) for budget in (5, 10))

    attack = AttackResult(base=REFUSED, rerouted=count([]), curve={"base": points(4), "rerouted": points(0)}, budget=10)
    found = Evaluation.model_construct(attacks={"gcg": attack}, harmful="", judge="")
    figure = budget_figures([found], ["mine"])["gcg"]
    assert [trace.name for trace in figure.data] == ["base"]
    nothing = attack.model_copy(update={"curve": {"base": points(0), "rerouted": points(0)}})
    assert not budget_figures([found.model_copy(update={"attacks": {"gcg": nothing}})], ["mine"])
