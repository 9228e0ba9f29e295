"""A run that keeps its best checkpoint goes back to it behind its last step, and is measured there."""

import pytest
import torch
from making_training import run, steps
from safetensors.torch import load_file

from engine.compute.training.checkpoints import checkpoint_at
from engine.records.best import BestCheckpoint
from engine.records.events import KEPT, Alert, HeldoutResult


def measured(step: int, *, within: bool = True) -> BestCheckpoint:
    return BestCheckpoint(step=step, measured=step, cosine=0.2, drift=0.1, benign_cosine=0.9, within=within)


@pytest.mark.parametrize(("keep", "kept"), [("best", 2), ("last", None)])
def test_the_weights_of_the_best_checkpoint_are_kept_and_tested(
    tiny_model, tiny_spec, tiny_rows, tmp_path, keep: str, kept: int | None
):
    spec = tiny_spec(**{"optimizer.keep": keep, "optimizer.learning_rate": 0.01})
    events, weights = run(tiny_model, spec, tiny_rows, tmp_path, best=lambda: measured(2))
    assert len(steps(events)) == 6
    assert [event.step for event in events if event.kind == "status" and event.status == KEPT] == (
        [kept] if kept else []
    )
    tested = [event for event in events if isinstance(event, HeldoutResult) and event.split == "test"]
    assert [event.step for event in tested] == [kept or 6]
    written = load_file(checkpoint_at(tmp_path, kept or 6) / "adapter.safetensors")
    for name, weight in weights.items():
        torch.testing.assert_close(weight, written[name], rtol=0, atol=0)


def test_where_the_best_is_kept_there_is_a_checkpoint_of_all_that_was_measured(
    tiny_model, tiny_spec, tiny_rows, tmp_path
):
    """Measured every 2 steps, written every 5."""
    every = {"captures.heldout_every": 2, "captures.checkpoint_every": 5, "optimizer.learning_rate": 0.01}
    written = {
        keep: [
            event.step
            for event in run(tiny_model, tiny_spec(**every, **{"optimizer.keep": keep}), tiny_rows, tmp_path / keep)[0]
            if event.kind == "checkpoint"
        ]
        for keep in ("last", "best")
    }
    assert written == {"last": [5, 6], "best": [2, 4, 5, 6]}


@pytest.mark.parametrize("best", [None, 6])
def test_where_the_last_checkpoint_is_the_best_or_none_was_measured_nothing_is_gone_back_to(
    tiny_model, tiny_spec, tiny_rows, tmp_path, best: int | None
):
    events, _ = run(
        tiny_model, tiny_spec(**{"optimizer.keep": "best"}), tiny_rows, tmp_path, best=lambda: best and measured(best)
    )
    assert not any(event.kind == "status" and event.status == KEPT for event in events)


@pytest.mark.parametrize("step", [2, 6])
@pytest.mark.parametrize("within", [True, False])
def test_where_no_checkpoint_stayed_within_the_bounds_it_is_said(
    tiny_model, tiny_spec, tiny_rows, tmp_path, step: int, within: bool
):
    """Whether it goes back or not."""
    spec = tiny_spec(**{"optimizer.keep": "best", "optimizer.keep_drift": 0.12})
    events, _ = run(tiny_model, spec, tiny_rows, tmp_path, best=lambda: measured(step, within=within))
    said = [event.message for event in events if isinstance(event, Alert) and "within its bounds" in event.message]
    assert len(said) == (not within) and all(
        f"drift 0.12, borderline answers 0): of them the one after step {step} " in one for one in said
    )
