"""Several processes against one: seconds and messages of a training step, and how far the weights lie apart behind it.

On the processor with the bundled model, whose processes share the cores: what is measured is what they say to each
other, and that they come to the same; how much faster they are shows on GPUs alone. Weights in float32 as they are
written, so that sums differ in their last bits only.
"""

import statistics
import tempfile
from copy import copy
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.rows import Row, alone
from benchmarks.training_step import SIDE_ROWS, side_rows
from engine.compute.model.adapters import adapter_parameters, remove_adapter
from engine.compute.model.load import load_model
from engine.compute.model.loaded import LoadedModel
from engine.compute.processes import Traffic
from engine.compute.team import present
from engine.compute.training.train import train
from engine.compute.training.trainer import Rows
from engine.ranks import teamed
from engine.records.blocks import resolve_blocks
from engine.records.events import StepResult
from engine.records.settings import read_settings
from engine.records.spec_parts import ModelSpec
from engine.records.spec_text import build_spec

CASES = ((1, False), (2, False), (4, False), (2, True))


class Found(NamedTuple):
    """start, weights: the adapter's before the first step and behind the last."""

    seconds: list[float]
    traffic: list[Traffic]
    start: np.ndarray
    weights: np.ndarray


def measure(repeats: int) -> list[Row]:
    rows: list[Row] = []
    first: Found | None = None
    for processes, sharded in CASES:
        found = alone(_trained, processes, sharded, 1 + repeats)
        first = first or found
        name = f"{processes} process{'es' * (processes > 1)}{', sharded' * sharded}"
        difference = found.weights - first.weights
        learned = np.linalg.norm(first.weights - first.start)
        before, after = found.traffic[1], found.traffic[-1]
        steps = len(found.traffic) - 2
        figures = {"s a step": statistics.median(found.seconds[1:])}
        if processes > 1:
            figures |= {
                "sums a step": (after.tensors - before.tensors) / steps,
                "MiB summed a step": (after.tensor_bytes - before.tensor_bytes) / steps / 2**20,
                "messages a step": (after.words - before.words) / steps,
                "KiB of messages a step": (after.word_bytes - before.word_bytes) / steps / 2**10,
                "of a weight, at most, from one process": float(np.abs(difference).max()),
                "% of what was learned, in all": 100 * float(np.linalg.norm(difference) / learned),
            }
        rows.append(Row(f"several processes, a training step: {name}", figures))
    return rows


def _trained(processes: int, sharded: bool, steps: int) -> Found:
    torch.set_num_threads(1)
    settings = read_settings()
    with teamed(settings, processes, sharded=sharded), tempfile.TemporaryDirectory() as folder:
        team = present()
        model = load_model(ModelSpec(device="cpu", dtype="float32"), settings)
        spec = build_spec(
            {
                "adapter": {"dropout": 0.0},
                "optimizer": {"steps": steps, "circuit_breaker_batch": SIDE_ROWS, "retain_batch": SIDE_ROWS},
                "captures": {"heldout_every": 1000, "checkpoint_every": 1000},
            }
        )
        rows = Rows(side_rows("harmful"), side_rows("benign"), [], [])
        seconds, traffic = [], []
        start: np.ndarray | None = None
        for event in train(
            model=model,
            name="measured",
            spec=spec,
            blocks=resolve_blocks(spec, model.card.block_count),
            rows=rows,
            checkpoints=Path(folder),
        ):
            if start is None:
                start = _weights(model)
            if isinstance(event, StepResult):
                seconds.append(event.seconds)
                traffic.append(copy(team.traffic) if team else Traffic())
        assert start is not None
        found = Found(seconds, traffic, start, _weights(model))
        remove_adapter(model, "measured")
        return found


def _weights(model: LoadedModel) -> np.ndarray:
    parts = [parameter.detach().flatten() for _, parameter in adapter_parameters(model, "measured")]
    return torch.cat(parts).double().numpy()
