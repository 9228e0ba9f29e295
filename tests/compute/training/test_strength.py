"""A finished adapter acts as strongly as its spec says; what was trained, and its checkpoints, stay what they were."""

import pytest
import torch
from making_training import run, steps
from safetensors.torch import load_file

from engine.compute.training.checkpoints import checkpoint_at
from engine.records.events import HeldoutResult


def _tested(events) -> HeldoutResult:
    return next(event for event in events if isinstance(event, HeldoutResult) and event.split == "test")


@pytest.mark.parametrize("strength", [0.5, 1.5])
def test_behind_the_last_step_b_is_multiplied_and_the_test_rows_see_it(
    tiny_model, tiny_spec, tiny_rows, tmp_path, strength: float
):
    fast = {"optimizer.learning_rate": 0.01}
    plain, trained = run(tiny_model, tiny_spec(**fast), tiny_rows, tmp_path / "plain")
    events, weights = run(
        tiny_model, tiny_spec(**fast, **{"adapter.strength": strength}), tiny_rows, tmp_path / "scaled"
    )
    assert [step.reroute_loss for step in steps(events)] == [step.reroute_loss for step in steps(plain)]
    for name, weight in weights.items():
        factor = strength if "lora_B" in name else 1.0
        torch.testing.assert_close(weight, trained[name] * factor, rtol=0, atol=0)
    written = load_file(checkpoint_at(tmp_path / "scaled", 6) / "adapter.safetensors")
    for name, weight in trained.items():
        torch.testing.assert_close(written[name], weight, rtol=0, atol=0)
    assert any(f"{strength:g} times as strongly" in event.message for event in events if event.kind == "status")
    drifts = [_tested(found).mean_drift for found in (plain, events)]
    assert (drifts[1] < drifts[0]) == (strength < 1) and drifts[0] > 0


def test_a_finished_run_that_is_taken_up_again_is_not_weakened_twice(tiny_model, tiny_spec, tiny_rows, tmp_path):
    spec = tiny_spec(**{"optimizer.learning_rate": 0.01, "adapter.strength": 0.5})
    _, first = run(tiny_model, spec, tiny_rows, tmp_path)
    _, again = run(tiny_model, spec, tiny_rows, tmp_path)
    for name, weight in first.items():
        torch.testing.assert_close(again[name], weight, rtol=0, atol=0)
