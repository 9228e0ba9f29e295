"""The losses of targets as an evaluation writes them down."""

import json
import math

import pytest

from engine.jobs.found import losses_of
from engine.records.evaluation.findings import Ability, Evaluation
from engine.records.evaluation.losses import LostTargets

BASE = [[1.0, 1.0], [2.0], [], [0.5, 0.5, 0.5, 0.5]]


def test_a_mean_loss_tells_few_targets_that_are_lost_from_all_that_drift():
    few = losses_of({"base": BASE, "rerouted": [[1.1, 1.1], [9.0], [], [0.5, 0.5, 0.5, 0.5]]})
    assert (few.base, few.rerouted) == (pytest.approx(6 / 7), pytest.approx(13.2 / 7))
    assert few.targets and (few.targets.n, few.targets.lost) == (3, 1)
    assert few.targets.rest == {"base": pytest.approx(4 / 6), "rerouted": pytest.approx(0.7)}
    drift = losses_of({"base": BASE, "rerouted": [[1.9, 1.9], [2.9], [], [1.4, 1.4, 1.4, 1.4]]})
    assert drift.targets == LostTargets(n=3, lost=0, rest={"base": drift.base, "rerouted": drift.rerouted})


def test_losses_that_are_no_number_count_as_lost_and_are_null_in_a_report():
    none = losses_of({"base": BASE, "rerouted": [[2.0, 2.0], [3.0], [], [math.nan] * 4]})
    assert none.targets == LostTargets(n=3, lost=3, rest={"base": None, "rerouted": None})
    nothing = losses_of({"base": [[]], "rerouted": [[]]})
    assert nothing.targets is None and nothing.base is None
    overflown = Ability(name="mtbench", n=2, base=1.5, rerouted=math.nan, unit="nats a token")
    losses = {"benign": none, "harmful": nothing}
    evaluation = Evaluation(key="abc", run="run", loss=losses, abilities=(overflown,))
    whole = json.loads(json.dumps(evaluation.report(), allow_nan=False))
    assert whole["abilities"]["mtbench"]["base"] == 1.5 and whole["abilities"]["mtbench"]["rerouted"] is None
    report = whole["loss"]
    assert report["benign"]["rerouted"] is None and report["benign"]["targets"] == none.targets.model_dump()
    assert report["harmful"] == {"base": None, "rerouted": None}
    written = json.loads(evaluation.model_dump_json())
    assert Evaluation.model_validate(written).loss["benign"].targets == none.targets
