"""Harmful rows beside borderline ones: nearest, overlap and twins by hand, and what both do in training."""

import math
from dataclasses import replace

import pytest
import torch
from making import random_rows
from making_training import run, steps

from engine.compute.training.reroute import BlockSpace, nearest, overlap_weight, twin_loss
from engine.compute.training.trainer import Rows
from engine.records.errors import TrainingError

PLAIN = BlockSpace(mean=torch.zeros(2), deviation=torch.ones(2), centred_norm=1.0)
LEARNING = {
    "optimizer.steps": 40, "optimizer.learning_rate": 0.01, "adapter.noise": 0.01, "adapter.dropout": 0.0,
    "loss.retain_weight": 0.0, "schedule.kind": "constant",
}  # fmt: skip


def test_the_nearest_borderline_row_by_hand():
    """(3, 4) has cosine 0.6 with (1, 0) and 0.8 with (0, 2), whatever their lengths."""
    cosine, which = nearest(torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
    assert float(cosine[0]) == pytest.approx(0.8) and int(which[0]) == 1


def test_the_overlap_weight_by_hand():
    """Threshold 0.5, width 0.1: at 0.5 a half, at 0.6 sigmoid(-1) = 0.268941, at 0.2 sigmoid(3) = 0.952574."""
    found = overlap_weight(torch.tensor([0.5, 0.6, 0.2]), threshold=0.5, width=0.1)
    torch.testing.assert_close(found, torch.tensor([0.5, 0.268941, 0.952574]))


def test_the_loss_of_twins_by_hand():
    """Cosines 0.6, 0 and -1 with the twin (1, 0), margin 0.1: 0.5, 0 and 0, mean 1/6."""
    rerouted = {0: torch.tensor([[[3.0, 4.0], [0.0, 1.0], [-1.0, 0.0]]])}
    twins = {0: torch.tensor([[1.0, 0.0]])}
    loss = twin_loss(rerouted, twins, torch.ones(1, 3), {0: PLAIN}, space="raw", margin=0.1)
    assert float(loss) == pytest.approx(1 / 6, abs=1e-6)


def test_a_harmful_row_that_lies_on_a_borderline_one_counts_little(tiny_model, tiny_spec, tmp_path):
    """The harmful rows are the borderline rows' own tokens, so their cosine is 1 and their weight sigmoid(-2)."""
    benign = [replace(row, borderline=True) for row in random_rows(3, label="benign")]
    harmful = [replace(row, label="harmful") for row in benign]
    spec = tiny_spec(**{"optimizer.steps": 1, "loss.overlap_cosine": 0.8, "loss.overlap_width": 0.1})
    (first,) = steps(run(tiny_model, spec, Rows(harmful, benign, [], []), tmp_path)[0])
    assert first.reroute_loss == pytest.approx(1 / (1 + math.exp(2)), abs=1e-3)


def test_harmful_rows_do_not_end_where_their_twins_lie(tiny_model, tiny_spec, tiny_rows, tmp_path):
    """A weight of next to nothing only measures."""

    def beside_twins(weight: float) -> float:
        spec = tiny_spec(**LEARNING, **{"loss.twin_weight": weight, "loss.twin_margin": 0.0})
        return steps(run(tiny_model, spec, tiny_rows, tmp_path / str(weight))[0])[-1].twin_loss

    assert beside_twins(10.0) < beside_twins(1e-9) / 2


def test_without_a_borderline_row_there_is_nothing_to_compare_with(tiny_model, tiny_spec, tiny_rows, tmp_path):
    plain = [replace(row, borderline=False) for row in tiny_rows.benign]
    with pytest.raises(TrainingError, match="give rows with the field 'borderline'"):
        run(tiny_model, tiny_spec(**{"loss.twin_weight": 0.3}), tiny_rows._replace(benign=plain), tmp_path)
