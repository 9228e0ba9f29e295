"""A run to ask, and the worker's device with it. Jobs of other models make their own."""

import pytest

from engine.compute.model.adapters import attach_adapter, remove_adapter
from engine.device import Device, adapter_name
from engine.jobs.training import _keep_adapter
from engine.records.runs import create_run


@pytest.fixture
def run(settings, tiny_model, tiny_spec):
    """A finished run whose adapter is strong on the upper of two blocks alone."""
    run = create_run(settings.runs, tiny_spec(**{"blocks.adapted": "1", "adapter.noise": 1.0}))
    name = adapter_name(run)
    attach_adapter(tiny_model, name, run.spec().adapter, [1], seed=0)
    _keep_adapter(tiny_model, name, run)
    remove_adapter(tiny_model, name)
    run.update(status="finished")
    return run


@pytest.fixture
def tools(settings, tiny_model, run):
    tiny_model.spec = run.spec().model
    return Device(settings, tiny_model).tools(1)
