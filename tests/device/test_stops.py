"""How often the device is made to wait: a count that does not grow with rows, blocks or tokens of a pass.

Each number that is read back makes a GPU wait until all before it is done. On a processor nothing waits, but the same
calls are made: they are counted. transformers itself looks at the mask of each pass, once or twice, to choose a kernel.
"""

import sys
from collections import Counter

import pytest
import torch
from making import drain, random_rows, write_tiny_model
from torch.utils._python_dispatch import TorchDispatchMode

from engine.compute.geometry.film import Film
from engine.compute.model.adapters import attach_adapter
from engine.compute.model.generation import Ask, answer
from engine.compute.model.load import load_model
from engine.compute.model.mixed import Voice
from engine.compute.training.drawing import step_rows
from engine.compute.training.heldout import measure_heldout, measure_spaces
from engine.compute.training.rows import micro_batches
from engine.compute.training.step import one_step
from engine.compute.training.trainer import Rows, prepared
from engine.records.blocks import resolve_blocks
from engine.records.chats.asked import Sampling
from engine.records.spec_parts import AdapterSpec, ModelSpec


class Stops(TorchDispatchMode):
    """Counts what reads back: single numbers, and (through the methods below) whole tensors, by the place that did."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.places: Counter[str] = Counter()
        self.masks = 0
        for name in ("tolist", "cpu", "numpy"):
            monkeypatch.setattr(torch.Tensor, name, self._counted(getattr(torch.Tensor, name)))

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        if function is torch.ops.aten._local_scalar_dense.default and arguments[0].numel() == 1:
            self._count()
        return function(*arguments, **(named or {}))

    def _counted(self, method):
        def counted(tensor, *arguments, **named):
            self._count()
            with torch._C._DisableTorchDispatch():
                return method(tensor, *arguments, **named)

        return counted

    def _count(self) -> None:
        frame = sys._getframe(2)
        while frame is not None and "/engine/" not in frame.f_code.co_filename:
            if frame.f_code.co_filename.endswith("transformers/masking_utils.py"):
                self.masks += 1
                return
            frame = frame.f_back
        if frame is not None:
            self.places[f"{frame.f_code.co_filename.rpartition('/engine/')[2]}:{frame.f_code.co_name}"] += 1


def made(settings, folder, *, blocks: int, rows: int, device: str, spec):
    model = load_model(ModelSpec(name=str(write_tiny_model(folder, blocks=blocks)), device=device), settings)
    harmful, benign = random_rows(rows, label="harmful"), random_rows(rows, seed=1, label="benign")
    resolved = resolve_blocks(spec, blocks)
    trainer = prepared(
        model, "run", spec, resolved, Rows(harmful, benign, harmful + benign, []), folder, (), None, 10**6, 10**6
    )
    drain(trainer.base.fill())
    drain(measure_spaces(trainer.base, [*harmful, *benign]))
    return trainer


@pytest.mark.parametrize(("blocks", "rows"), [(2, 3), (4, 12)])
def test_a_step_reads_back_once_whatever_its_rows_and_blocks(
    settings, device_spec, device_name, tmp_path, monkeypatch, blocks, rows
):
    spec = device_spec(
        **{
            "blocks.adapted": f"0-{blocks - 1}",
            "optimizer.circuit_breaker_batch": rows,
            "optimizer.retain_batch": rows,
            "adapter.dropout": 0.1,
        }
    )
    trainer = made(settings, tmp_path / "m", blocks=blocks, rows=rows, device=device_name, spec=spec)
    try:
        drain(one_step(trainer, [], trainer.micro_batch_tokens))
        # In parts: none is one more stop.
        parts = len(micro_batches(step_rows(spec, trainer.rows.harmful, trainer.rows.benign, 1), 120))
        with Stops(monkeypatch) as stops:
            drain(one_step(trainer, [], 120))
    finally:
        trainer.end()
    # The order of an epoch's rows is drawn on the processor: no device waits for it.
    stops.places.pop("compute/training/drawing.py:_order")
    assert stops.places == {"compute/training/step.py:_move": 1} and stops.masks <= 2 * parts


@pytest.mark.parametrize(("blocks", "rows"), [(2, 3), (4, 12)])
def test_a_measurement_reads_back_once_a_group(settings, device_spec, device_name, tmp_path, monkeypatch, blocks, rows):
    spec = device_spec(**{"blocks.adapted": f"0-{blocks - 1}"})
    trainer = made(settings, tmp_path / "m", blocks=blocks, rows=rows, device=device_name, spec=spec)
    groups = len(micro_batches(trainer.rows.validation, 200))
    with Stops(monkeypatch) as stops:
        drain(
            measure_heldout(
                trainer.model,
                "run",
                trainer.rows.validation,
                trainer.base,
                trainer.blocks,
                step=0,
                split="validation",
                tokens_per_batch=200,
            )
        )
    trainer.end()
    assert stops.places == {"compute/training/heldout.py:_read_back": groups} and stops.masks <= 2 * groups


@pytest.mark.parametrize("blocks", [2, 4])
def test_a_capture_reads_back_once_a_group(settings, device_name, tmp_path, monkeypatch, blocks):
    model = load_model(
        ModelSpec(name=str(write_tiny_model(tmp_path / "m", blocks=blocks)), device=device_name), settings
    )
    attach_adapter(model, "run", AdapterSpec(rank=4, alpha=4), range(blocks), seed=0)
    film = Film(model, random_rows(9), blocks=range(blocks), entry_block=0, tokens=("last_prompt", "response_mean"))
    drain(film.prepare())
    with Stops(monkeypatch) as stops:
        drain(film.take(tmp_path, "step-000000", "run"))
    # What is looked at for what is not finite, joined and written afterwards lies off the device by then.
    off_device = ("_check_finite", "<genexpr>", "<dictcomp>")
    on_device = {place: count for place, count in stops.places.items() if not place.endswith(off_device)}
    assert on_device == {"compute/geometry/film.py:fetched": 1} and stops.masks <= 2


@pytest.mark.parametrize("rows", [2, 9])
def test_a_token_of_all_rows_is_read_back_once(settings, device_name, tmp_path, monkeypatch, rows):
    model = load_model(ModelSpec(name=str(write_tiny_model(tmp_path / "m")), device=device_name), settings)
    attach_adapter(model, "run", AdapterSpec(rank=4, alpha=4), [0, 1], seed=0)
    asks = [Ask([5, 6, 7 + row], Voice("run" if row % 2 else None)) for row in range(rows)]
    steps = answer(model, asks, Sampling(new_tokens=6, temperature=0.5))
    said = next(steps)
    while said is None:
        said = next(steps)
    with Stops(monkeypatch) as stops:
        next(steps)
    assert stops.places == {"compute/model/generation.py:answer": 1} and stops.masks <= 2
