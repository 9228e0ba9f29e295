"""An adapter that changes nothing moves nothing, to the last bit: base and rerouted activations are computed alike."""

from dataclasses import replace

import pytest
import torch
from making import drain, random_rows
from safetensors.torch import load_file

from engine.compute.geometry.film import Film
from engine.compute.geometry.trip import standard_spaces, trip
from engine.compute.model.adapters import attach_adapter
from engine.compute.model.mixed import Voice
from engine.compute.training.train import train
from engine.compute.training.trainer import Rows
from engine.records.blocks import resolve_blocks
from engine.records.captures import shards
from engine.records.events import HeldoutResult, StepResult
from engine.records.spec_parts import AdapterSpec

FORMATS = ("float32", "bfloat16")
OPENING = tuple(range(60, 80))


def rows_with(opening: tuple[int, ...], count: int = 6):
    """Both sides, each row of its own length behind the opening that all share."""
    sides = (random_rows(count, label="harmful"), random_rows(count, seed=1, label="benign"))
    harmful, benign = (
        [replace(row, ids=opening + row.ids, response_start=len(opening) + row.response_start) for row in side]
        for side in sides
    )
    return Rows(harmful[:4], benign[:4], harmful[4:] + benign[4:], harmful[3:] + benign[3:])


def results(model, spec, rows, folder, **named):
    steps = train(
        model=model, name="run", spec=spec, blocks=resolve_blocks(spec, 2), rows=rows, checkpoints=folder, **named
    )
    found = []
    for event in steps:
        found.append(event)
        if isinstance(event, StepResult):
            steps.close()
    return found


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("adapted", ["0-1", "1"])
@pytest.mark.parametrize(("dropout", "opening", "kept"), [(0.0, OPENING, True), (0.1, OPENING, True), (0.0, (), False)])
def test_held_out_rows_have_cosine_1_and_drift_0_before_the_first_step(
    device_model, device_spec, tmp_path, monkeypatch, dtype, adapted, dropout, opening, kept
):
    if not kept:
        monkeypatch.setattr("engine.records.room.KEPT_BYTES", 0)
    changes = {"adapter.noise": 0.0, "adapter.dropout": dropout, "blocks.adapted": adapted, "model.dtype": dtype}
    spec = device_spec(**changes)
    found = results(device_model(dtype=dtype), spec, rows_with(opening), tmp_path, micro_batch_tokens=100)
    (measured,) = [event for event in found if isinstance(event, HeldoutResult)]
    for name in ("cosine", "raw_cosine", "benign_cosine", "benign_answer_cosine", "borderline_answer_cosine"):
        values = getattr(measured, name).values()
        assert values and set(values) == {1.0}, name
    assert set(measured.drift.values()) == {0.0} and measured.borderline_drift == 0.0


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_the_first_step_of_rows_that_are_not_kept_has_losses_1_and_0(
    device_model, device_spec, tmp_path, monkeypatch, dtype, dropout
):
    monkeypatch.setattr("engine.records.room.KEPT_BYTES", 0)
    # In one micro-batch: shares of a mean are rounded before they are added up.
    changes = {"adapter.noise": 0.0, "adapter.dropout": dropout, "optimizer.tokens_per_micro_batch": 4096}
    spec = device_spec(**changes, **{"model.dtype": dtype, "loss.space": "raw"})
    # In float32 the base model runs a shared opening once where dropout runs it in each row: equal to 3e-7.
    opening = OPENING if dtype == "bfloat16" or not dropout else ()
    found = results(device_model(dtype=dtype), spec, rows_with(opening), tmp_path)
    (first,) = [event for event in found if isinstance(event, StepResult)]
    assert (first.reroute_loss, first.retain_loss) == (1.0, 0.0)


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("entry_block", [0, 1])
def test_a_capture_of_several_shards_has_cosine_1_and_drift_0(device_model, tmp_path, monkeypatch, dtype, entry_block):
    monkeypatch.setattr(shards, "SHARD_BYTES", 3000)
    model = device_model(dtype=dtype)
    attach_adapter(model, "run", AdapterSpec(rank=4, alpha=4, noise=0.0), range(entry_block, 2), seed=0)
    rows = rows_with(OPENING, count=9)
    film = Film(
        model, [*rows.test, *rows.harmful], blocks=(0, 1), entry_block=entry_block, tokens=("last_prompt", "every")
    )
    drain(film.prepare())
    drain(film.take(tmp_path, "step-000000", "run"))
    written = [load_file(file) for file in sorted(tmp_path.glob("step-000000.*.safetensors"))]
    assert len(written) > 2
    for tensors in written:
        for block in (0, 1):
            for name, value in (("cosine", 1.0), ("raw_cosine", 1.0), ("drift", 0.0), ("norm_ratio", 1.0)):
                assert torch.equal(tensors[f"{name}/{block}"], torch.full_like(tensors[f"{name}/{block}"], value)), name


@pytest.mark.parametrize("dtype", FORMATS)
def test_no_token_of_an_answer_trips_under_a_fresh_adapter(device_model, tmp_path, dtype):
    model = device_model(dtype=dtype)
    attach_adapter(model, "run", AdapterSpec(rank=4, alpha=4, noise=0.0), range(2), seed=0)
    rows = rows_with(())
    _, spaces = drain(standard_spaces(model, rows.harmful, file=tmp_path / "spaces.safetensors"))
    _, cosines = drain(trip(model, rows.test[0].ids, Voice("run"), spaces))
    assert torch.equal(cosines, torch.ones_like(cosines))
