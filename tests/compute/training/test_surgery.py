"""Gradient surgery by hand, and in training."""

from dataclasses import replace

import pytest
import torch
from making import random_rows
from making_training import run, steps
from torch import nn

from engine.compute.training.surgery import put_together, set_aside, without_conflict
from engine.compute.training.trainer import Rows


@pytest.mark.parametrize(
    ("retaining", "left"),
    [((-2.0, 0.0), (0.0, 1.0)), ((2.0, 0.0), (1.0, 1.0)), ((0.0, 0.0), (1.0, 1.0))],
)
def test_what_points_against_the_other_gradient_is_taken_out_by_hand(retaining, left):
    """(1, 1) against (-2, 0): their product is -2, so (1, 1) - (-2 / 4) (-2, 0) = (0, 1). Along it, or where there is
    none, nothing is taken out."""
    found = without_conflict(torch.tensor([1.0, 1.0]), torch.tensor(retaining))
    torch.testing.assert_close(found, torch.tensor(left))


def test_two_parameters_are_one_vector_by_hand():
    """Rerouting (1, 1), retaining (-2, 0) over two parameters of one number: (0, 1) + (-2, 0) = (-2, 1)."""
    parameters = [nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))]
    aside = [torch.zeros(1), torch.zeros(1)]
    for parameter in parameters:
        parameter.grad = torch.ones(1)
    set_aside(parameters, aside)
    parameters[0].grad = torch.tensor([-2.0])
    put_together(parameters, aside)
    assert [float(parameter.grad) for parameter in parameters] == [-2.0, 1.0]


def test_where_both_losses_want_the_opposite_the_benign_rows_win(tiny_model, tiny_spec, tmp_path):
    """The harmful rows are the benign rows' own tokens: without surgery they are turned away all the same."""
    benign = random_rows(3, label="benign")
    rows = Rows([replace(row, label="harmful") for row in benign], benign, [], [])

    def trained(surgery: bool) -> tuple[float, float]:
        spec = tiny_spec(
            **{
                "optimizer.steps": 40, "optimizer.learning_rate": 0.01, "adapter.noise": 0.05, "adapter.dropout": 0.0,
                "schedule.kind": "constant", "loss.retain_weight": 0.2, "optimizer.gradient_surgery": surgery,
            }
        )  # fmt: skip
        last = steps(run(tiny_model, spec, rows, tmp_path / str(surgery))[0])[-1]
        return last.reroute_loss, last.retain_loss

    (reroute, retain), (moved, drift) = trained(True), trained(False)
    assert reroute > moved and retain < drift
