"""Training runs of the tiny model as tests make them, and what they end with. No fixtures."""

import torch

from engine.compute.model.adapters import adapter_parameters, remove_adapter
from engine.compute.training.train import train
from engine.records.blocks import resolve_blocks
from engine.records.events import StepResult


def run(model, spec, rows, folder, *, name="run", controls=(), stop_after=None, best=lambda: None):
    """Events and final adapter weights of a training run, which is closed after `stop_after` steps if given."""
    generator = train(
        model=model,
        name=name,
        spec=spec,
        blocks=resolve_blocks(spec, 2),
        rows=rows,
        checkpoints=folder,
        controls=controls,
        best=best,
    )
    events = []
    for event in generator:
        if event is not None:
            events.append(event)
        if stop_after and sum(isinstance(one, StepResult) for one in events) == stop_after:
            generator.close()
            break
    weights = {key: parameter.detach().clone() for key, parameter in adapter_parameters(model, name)}
    remove_adapter(model, name)
    return events, weights


def steps(events):
    return [event for event in events if isinstance(event, StepResult)]


def same(left, right):
    assert left.keys() == right.keys()
    for key in left:
        torch.testing.assert_close(left[key], right[key], rtol=0, atol=0)
