"""Capturing two blocks against transformers' output_hidden_states of all; the share of training that a film takes."""

import resource
import statistics
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.rows import Row
from benchmarks.training_step import engine_steps, side_rows, small_spec
from engine.compute.geometry.film import Film
from engine.compute.model.adapters import attach_adapter, remove_adapter
from engine.compute.model.load import load_model
from engine.compute.model.loaded import LoadedModel
from engine.compute.training.base_activations import row_batch
from engine.records.blocks import resolve_blocks
from engine.records.captures.capture import BASE
from engine.records.settings import read_settings
from engine.records.spec_text import build_spec

BLOCKS = (10, 19)


def measure(repeats: int) -> list[Row]:
    model = load_model(build_spec({}).model, read_settings())
    rows = side_rows("harmful") + side_rows("benign")
    ours, plain = [], []
    for _ in range(repeats):
        plain.append(_plain(model, rows))
        ours.append(_capture(model, rows))
    fast, slow = statistics.median(ours), statistics.median(plain)
    mebibytes = 4 * model.d_model / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return [
        Row(
            "capture: output_hidden_states of all blocks",
            {"prompts a second": len(rows) / slow, "MiB of activations": len(rows) * 96 * 31 * mebibytes},
        ),
        Row(
            "capture: two blocks, two token choices, written to disk",
            {
                "prompts a second": len(rows) / fast,
                "times as fast": slow / fast,
                "MiB of activations": len(rows) * 2 * 2 * mebibytes,
            },
        ),
        _share_of_training(model, repeats),
        Row("capture: peak memory of this process so far", {"GiB": peak}),
    ]


def _capture(model: LoadedModel, rows: list) -> float:
    film = Film(model, rows, blocks=BLOCKS, entry_block=0, tokens=("last_prompt", "response_mean"))
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        for _ in film.prepare():
            pass
        for _ in film.take(Path(folder), BASE, None):
            pass
        return time.perf_counter() - started


def _plain(model: LoadedModel, rows: list) -> float:
    batch = row_batch(model, rows)
    started = time.perf_counter()
    with torch.no_grad():
        model.causal_lm(input_ids=batch.ids, attention_mask=batch.attention, output_hidden_states=True)
    return time.perf_counter() - started


def _share_of_training(model: LoadedModel, repeats: int) -> Row:
    """Seconds of one capture of the default preset's probe set against the steps between two captures."""
    from engine.records.presets import named_spec as named

    preset = named("default")
    spec = small_spec(preset.blocks.adapted)
    blocks = resolve_blocks(preset, model.card.block_count)
    steps = engine_steps(model, spec, side_rows("harmful"), side_rows("benign"))
    per_row = statistics.median(next(steps).seconds for _ in range(repeats + 1)) / 16
    rows_a_step = preset.optimizer.circuit_breaker_batch + preset.optimizer.retain_batch
    attach_adapter(model, "film", spec.adapter, blocks.adapted, seed=0)
    count = preset.captures.capture_prompts
    probes = (side_rows("harmful") * 4)[:count] + (side_rows("benign") * 4)[:count]
    wanted = range(blocks.first_adapted, model.card.block_count)
    film = Film(model, probes, blocks=wanted, entry_block=blocks.first_adapted, tokens=("last_prompt", "response_mean"))
    for _ in film.prepare():
        pass
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        for _ in film.take(Path(folder), "step-000001", "film"):
            pass
        seconds = time.perf_counter() - started
    remove_adapter(model, "film")
    between = preset.captures.capture_every * rows_a_step * per_row
    return Row(
        "capture: the default preset's film against the steps between two captures",
        {"seconds a capture": seconds, "percent of training": 100 * seconds / between},
    )
