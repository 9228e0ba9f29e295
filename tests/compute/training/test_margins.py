"""Margins of both losses: by hand, and what they leave alone in training."""

import pytest
import torch
from making_training import run, same, steps

from engine.compute.training.reroute import BlockSpace, rerouting_loss, retain_loss
from engine.compute.training.trainer import Rows

PLAIN = BlockSpace(mean=torch.zeros(2), deviation=torch.ones(2), centred_norm=2.0)


def activations(*tokens: tuple[float, float]) -> torch.Tensor:
    return torch.tensor([list(tokens)], dtype=torch.float32)


def test_a_cosine_counts_by_what_it_is_above_the_margin_by_hand():
    """Cosines 0.6, 0.8, 0 and 1 above a margin of 0.7: 0, 0.1, 0 and 0.3, mean 0.1."""
    base = {0: activations((1, 0), (1, 0), (1, 0), (1, 0))}
    rerouted = {0: activations((3, 4), (4, 3), (0, 2), (7, 0))}
    loss = rerouting_loss(rerouted, base, torch.ones(1, 4), {0: PLAIN}, space="raw", margin=0.7)
    assert float(loss) == pytest.approx(0.1, abs=1e-6)


def test_a_distance_counts_by_what_it_is_above_the_margin_in_its_own_unit_by_hand():
    """Distances 5 and 1, centred norm 2. Absolute, margin 2: 3 and 0, mean 1.5. Relative, 2.5 and 0.5, margin 0.5: 2
    and 0, mean 1."""
    base = {0: activations((1, 1), (7, 7))}
    rerouted = {0: activations((4, 5), (7, 8))}
    mask = torch.ones(1, 2)
    assert float(retain_loss(rerouted, base, mask, {0: PLAIN}, scale="absolute", margin=2.0)) == pytest.approx(1.5)
    assert float(retain_loss(rerouted, base, mask, {0: PLAIN}, scale="relative", margin=0.5)) == pytest.approx(1.0)


def test_within_the_margins_there_is_no_gradient():
    moved = activations((3, 4), (7, 7.5)).requires_grad_()
    base = {0: activations((1, 0), (7, 7))}
    mask = torch.ones(1, 2)
    cosine = rerouting_loss({0: moved}, base, mask, {0: PLAIN}, space="raw", margin=0.999)
    distance = retain_loss({0: moved}, base, mask, {0: PLAIN}, scale="relative", margin=3.0)
    gradients = torch.autograd.grad(cosine + distance, moved)[0]
    assert float(cosine) > 0 and float(distance) == 0
    assert gradients[0, 0].abs().sum() == 0 and gradients[0, 1].abs().sum() > 0


def test_harmful_rows_that_are_turned_beyond_their_margin_pull_no_more(tiny_model, tiny_spec, tiny_rows, tmp_path):
    spec = tiny_spec(
        **{
            "optimizer.steps": 40, "optimizer.learning_rate": 0.01, "adapter.noise": 0.01, "adapter.dropout": 0.0,
            "loss.retain_weight": 0.0, "schedule.horizon": 600, "loss.reroute_margin": 0.6,
        }
    )  # fmt: skip
    found = steps(run(tiny_model, spec, Rows(tiny_rows.harmful[:3], tiny_rows.benign[:3], [], []), tmp_path)[0])
    assert found[0].reroute_loss == pytest.approx(0.4, abs=0.01) and found[0].gradient_norm > 0
    assert (found[-1].reroute_loss, found[-1].gradient_norm) == (0.0, 0.0)


def test_a_drift_within_its_margin_is_trained_as_if_it_had_no_weight(tiny_model, tiny_spec, tiny_rows, tmp_path):
    free = tiny_spec(**{"loss.retain_margin": 50.0})
    events, moved = run(tiny_model, free, tiny_rows, tmp_path / "free")
    assert [event.retain_loss for event in steps(events)] == [0.0] * 6
    same(moved, run(tiny_model, tiny_spec(**{"loss.retain_weight": 0.0}), tiny_rows, tmp_path / "unheld")[1])


def test_a_margin_hides_no_plateau(tiny_model, tiny_spec, tiny_rows, tmp_path):
    spec = tiny_spec(**{"optimizer.steps": 12, "optimizer.learning_rate": 1e-9, "loss.reroute_margin": 0.5})
    events, _ = run(tiny_model, spec, tiny_rows, tmp_path)
    assert any(event.kind == "alert" and "does not fall" in event.message for event in events)
