"""Checkpoints: what is read lies where its parameter does, and is what was written."""

import pytest
import torch
from torch import nn

from engine.compute.training.checkpoints import Position, list_checkpoints, load_checkpoint, save_checkpoint
from engine.records.errors import RunError


def trained(steps: int = 2) -> tuple[list[tuple[str, nn.Parameter]], torch.optim.AdamW]:
    parameters = [(name, nn.Parameter(torch.randn(3, 2))) for name in ("a", "b")]
    optimizer = torch.optim.AdamW([parameter for _, parameter in parameters], 0.1, fused=True)
    for _ in range(steps):
        for _, parameter in parameters:
            parameter.grad = torch.randn(3, 2)
        optimizer.step()
    return parameters, optimizer


def test_moments_and_weights_come_back_as_they_were(tmp_path):
    parameters, optimizer = trained()
    save_checkpoint(tmp_path, Position(2, 1.5), parameters, optimizer)
    others, fresh = trained(steps=0)
    position = load_checkpoint(list_checkpoints(tmp_path)[-1], others, fresh)
    assert position == Position(2, 1.5)
    for (_, left), (_, right) in zip(parameters, others, strict=True):
        assert torch.equal(left, right)
        for name, value in optimizer.state[left].items():
            assert torch.equal(fresh.state[right][name], value), name


def test_each_value_lies_where_its_parameter_does_the_step_counter_of_a_fused_optimizer_too(tmp_path):
    """A second device by its stand-in: torch's meta device. Fused AdamW refuses a counter that lies elsewhere."""
    parameters, optimizer = trained()
    save_checkpoint(tmp_path, Position(2, 0.0), parameters, optimizer)
    elsewhere = [(name, nn.Parameter(torch.empty(3, 2, device="meta"))) for name, _ in parameters]
    fresh = torch.optim.AdamW([parameter for _, parameter in elsewhere], 0.1)
    for group in fresh.param_groups:
        group["fused"] = True
    load_checkpoint(list_checkpoints(tmp_path)[-1], elsewhere, fresh)
    for _, parameter in elsewhere:
        assert {name: value.device.type for name, value in fresh.state[parameter].items()} == {
            "step": "meta",
            "exp_avg": "meta",
            "exp_avg_sq": "meta",
        }


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("CUDA error: unspecified launch failure")]
)
def test_a_device_that_is_full_or_fails_is_not_told_as_a_damaged_checkpoint(tmp_path, monkeypatch, error):
    parameters, optimizer = trained()
    save_checkpoint(tmp_path, Position(2, 0.0), parameters, optimizer)
    others, fresh = trained(steps=0)

    def refused(*_):
        raise error

    monkeypatch.setattr(fresh, "load_state_dict", refused)
    with pytest.raises(type(error), match="CUDA"):
        load_checkpoint(list_checkpoints(tmp_path)[-1], others, fresh)


def test_a_checkpoint_of_another_adapter_is_refused(tmp_path):
    parameters, optimizer = trained()
    save_checkpoint(tmp_path, Position(2, 0.0), parameters, optimizer)
    others, fresh = trained(steps=0)
    with pytest.raises(RunError, match="cannot be read"):
        load_checkpoint(list_checkpoints(tmp_path)[-1], [("c", others[0][1])], fresh)


def test_where_the_last_one_is_damaged_the_one_before_is_gone_on_from_and_older_ones_say_that_they_cannot_be(tmp_path):
    for step in (1, 2, 3):
        parameters, optimizer = trained(step)
        save_checkpoint(tmp_path, Position(step, 0.0), parameters, optimizer)
    (tmp_path / "step-000003" / "adapter.safetensors").write_bytes(b"damaged")
    with pytest.raises(RunError, match=r"step-000003 cannot be read .*Delete that folder to resume from the one"):
        load_checkpoint(list_checkpoints(tmp_path)[-1], *trained(0))
    assert load_checkpoint(list_checkpoints(tmp_path)[-2], *trained(0)).step == 2
    with pytest.raises(RunError, match=r"step-000001 cannot be gone on from: .*It can still be asked"):
        load_checkpoint(list_checkpoints(tmp_path)[-3], *trained(0))
