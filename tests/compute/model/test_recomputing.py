"""Gradient checkpointing: the same gradients from less memory, and blocks that are as they were afterwards."""

import pytest
import torch
from making import random_rows, write_tiny_model

from engine.compute.model.activations import block_activations
from engine.compute.model.adapters import adapted, adapter_parameters, attach_adapter
from engine.compute.model.load import load_model
from engine.compute.model.low_rank import quick_layers
from engine.compute.model.recomputing import recomputed
from engine.compute.training.base_activations import row_batch
from engine.compute.training.train import train
from engine.records.blocks import resolve_blocks
from engine.records.events import StepResult
from engine.records.spec_parts import AdapterSpec, ModelSpec


@pytest.fixture
def deep_model(tmp_path, settings):
    """Six blocks, so that some lie below the first adapted one and some above the last one needed."""
    model = load_model(ModelSpec(name=str(write_tiny_model(tmp_path / "deep", blocks=6)), device="cpu"), settings)
    attach_adapter(model, "run", AdapterSpec(rank=4, alpha=4, noise=0.3, dropout=0.2), range(2, 5), seed=0)
    return model


def gradients(model, *, anew: bool, entry: bool):
    batch = row_batch(model, random_rows(4))
    with torch.no_grad():
        base = block_activations(model, batch, [4], entry_block=2, keep_entry=True, share_opening=False)
    with adapted(model, "run", train=True), quick_layers(model, "run"), recomputed(model, range(2, 5) if anew else ()):
        torch.manual_seed(7)
        moved = block_activations(
            model, batch, [3, 4], entry_block=2, entry=base.entry if entry else None, share_opening=False
        ).outputs
        (moved[3].square().sum() + moved[4].sum()).backward()
    found = [parameter.grad.clone() for _, parameter in adapter_parameters(model, "run")]
    for _, parameter in adapter_parameters(model, "run"):
        parameter.grad = None
    return found


@pytest.mark.parametrize("entry", [True, False])
def test_gradients_are_the_same_with_dropout_and_with_blocks_below_that_are_not_run(deep_model, entry):
    plain, anew = (gradients(deep_model, anew=anew, entry=entry) for anew in (False, True))
    assert any(gradient.abs().sum() > 0 for gradient in plain)
    assert all(torch.equal(left, right) for left, right in zip(plain, anew, strict=True))


def saved_numbers(model, *, anew: bool) -> int:
    """How many numbers autograd keeps of a forward pass, weights left out."""
    kept: dict[int, int] = {}
    weights = {parameter.data_ptr() for parameter in model.causal_lm.parameters()}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in weights:
            kept[tensor.data_ptr()] = tensor.numel()
        return tensor

    batch = row_batch(model, random_rows(4))
    with (
        adapted(model, "run", train=True),
        quick_layers(model, "run"),
        recomputed(model, range(2, 5) if anew else ()),
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
    ):
        block_activations(model, batch, [4], share_opening=False)
    return sum(kept.values())


def test_a_block_that_is_computed_anew_leaves_what_entered_it_and_little_else(deep_model):
    assert saved_numbers(deep_model, anew=True) < saved_numbers(deep_model, anew=False) / 5


def test_blocks_are_as_they_were_after_an_exception_and_what_stood_there_stands_there_again(deep_model):
    def mine(*_args, **_kwargs):
        raise AssertionError("not called here")

    deep_model.blocks[2].forward = mine
    with pytest.raises(KeyError), recomputed(deep_model, [2, 3]):
        raise KeyError
    assert deep_model.blocks[2].__dict__["forward"] is mine and "forward" not in deep_model.blocks[3].__dict__
    del deep_model.blocks[2].forward


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("adapted_blocks", ["0-1", "1"])
def test_a_run_learns_the_same_with_it_as_without(tiny_model, tiny_spec, tiny_rows, tmp_path, dropout, adapted_blocks):
    found = {}
    for setting in ("off", "on"):
        spec = tiny_spec(
            **{
                "adapter.dropout": dropout,
                "blocks.adapted": adapted_blocks,
                "optimizer.gradient_checkpointing": setting,
                "optimizer.steps": 3,
            }
        )
        blocks = resolve_blocks(spec, 2)
        events = list(
            train(
                model=tiny_model, name=setting, spec=spec, blocks=blocks, rows=tiny_rows, checkpoints=tmp_path / setting
            )
        )
        losses = [(event.reroute_loss, event.gradient_norm) for event in events if isinstance(event, StepResult)]
        weights = [parameter.detach().clone() for _, parameter in adapter_parameters(tiny_model, setting)]
        found[setting] = losses, weights
    # The opening that rows share is run in every row here: sums in another order.
    assert found["on"][0] == [pytest.approx(pair, rel=1e-4) for pair in found["off"][0]]
    for plain, anew in zip(found["off"][1], found["on"][1], strict=True):
        torch.testing.assert_close(plain, anew, rtol=1e-3, atol=1e-5)
