"""One GPU, all of it in one table: `python -m benchmarks gpu`, for an hour on a borrowed one.

The Llama-3-8B shape with random weights: a training step of 16 + 16 rows with the published data's mix of lengths, the
published compute beside this engine's, in seconds and GiB; the same where no base activation is kept, as in the paper's
presets, and with gradient checkpointing; how often a step and an answer's token make the device wait; answers of one
row, of a chat's two columns, and of as many rows as the memory holds.
"""

import statistics
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from benchmarks.rows import Row
from benchmarks.training_step import (
    PADDED_TOKENS,
    Case,
    compared,
    engine_steps,
    llama_shape,
    peak_memory,
    published_lengths,
    side_rows,
    small_spec,
)
from engine.compute.model.adapters import attach_adapter, remove_adapter
from engine.compute.model.generation import Ask, answered_ids
from engine.compute.model.load import load_reader
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.mixed import Voice
from engine.compute.model.room import answer_bytes, release_memory, rows_at_once
from engine.compute.steps import drained
from engine.records.chats.asked import Sampling
from engine.records.settings import read_settings
from engine.records.spec import RunSpec
from engine.records.spec_parts import AdapterSpec, ModelSpec
from engine.records.spec_text import with_fields

SIDE_ROWS = 16
PROMPT_TOKENS, NEW_TOKENS = 64, 64
MOST_ROWS = 256


def measure(repeats: int) -> list[Row]:
    if not torch.cuda.is_available():
        return [Row("one GPU, Llama-3-8B shape: skipped, there is no GPU here", {})]
    lengths = published_lengths(2 * SIDE_ROWS)
    model = llama_shape(load_reader(ModelSpec(), read_settings()).tokenizer)
    harmful, benign = side_rows("harmful", lengths[::2]), side_rows("benign", lengths[1::2])
    return table(
        Case("Llama-3-8B shape", model, harmful, benign, "9, 19", "0-20", "", PADDED_TOKENS, True), repeats
    )  # fmt: skip


def table(case: Case, repeats: int) -> list[Row]:
    """All rows of the table, the published compute first. Raises AssertionError where losses differ."""
    rows = compared(case, repeats)
    release_memory()
    spec = small_spec(case.whole, case.targets, rows=len(case.harmful), padded=case.padded)
    settings = {"base activations computed anew": "off", "computed anew, gradient checkpointing": "on"}
    for name, setting in settings.items():
        rows.append(_once(case, with_fields(spec, {"optimizer.gradient_checkpointing": setting}), name, repeats))
        release_memory()
    return [*rows, *_answers(case.model)]


def _once(case: Case, spec: RunSpec, name: str, repeats: int) -> Row:
    """Steps whose rows come once, so that none of their base activations is kept; the first one is not counted."""
    steps = repeats + 1
    spec = with_fields(spec, {"optimizer.steps": steps})
    harmful = side_rows("harmful", [len(row.ids) for row in case.harmful] * steps)
    benign = side_rows("benign", [len(row.ids) for row in case.benign] * steps)
    events = engine_steps(case.model, spec, harmful, benign, name=name)
    next(events)
    seconds, stops, tokens, gibibytes = [], [], [], 0.0
    for _ in range(repeats):
        with peak_memory(case.model.device) as peak, counted_stops(case.model.device) as waited:
            started = time.perf_counter()
            result = next(events)
            seconds.append(time.perf_counter() - started)
        stops.append(waited[0])
        tokens.append(result.tokens)
        gibibytes = max(gibibytes, peak[0])
    median = statistics.median(seconds)
    figures = {"s": median, "real tokens a second": statistics.mean(tokens) / median, "GiB at the peak": gibibytes}
    if case.model.device.type == "cuda":
        figures["stops of the device a step"] = statistics.median(stops)
    remove_adapter(case.model, name)
    return Row(f"training step, {case.name}: this engine, {name}", figures)


def _answers(model: LoadedModel) -> list[Row]:
    """Tokens a second of one row, of two columns, and of as many rows as the memory holds."""
    attach_adapter(model, "benchmark", AdapterSpec(noise=0.02), range(len(model.blocks)), seed=0)
    most = rows_at_once(
        model, answer_bytes(model, PROMPT_TOKENS + NEW_TOKENS), on_a_processor=8, most=MOST_ROWS
    )  # fmt: skip
    kinds = {
        "one row": [Voice()],
        "two columns, base and circuit-broken": [Voice(), Voice("benchmark")],
        f"{most} rows at once": [Voice()] * most,
    }
    rows = []
    prompts = [list(row.ids) for row in side_rows("benign", [PROMPT_TOKENS] * most)]
    for name, voices in kinds.items():
        asks = [Ask(prompts[number % most], voice) for number, voice in enumerate(voices)]
        with peak_memory(model.device) as peak, counted_stops(model.device) as waited:
            started = time.perf_counter()
            said = drained(answered_ids(model, asks, Sampling(new_tokens=NEW_TOKENS)))
            spent = time.perf_counter() - started
        tokens = sum(map(len, said))
        figures = {"tokens a second": tokens / spent, "GiB at the peak": peak[0]}
        if model.device.type == "cuda":
            figures["stops of the device a token"] = waited[0] / NEW_TOKENS
        rows.append(Row(f"answers, {PROMPT_TOKENS} + {NEW_TOKENS} tokens: {name}", figures))
    remove_adapter(model, "benchmark")
    return rows


@contextmanager
def counted_stops(device: torch.device) -> Iterator[list[int]]:
    """How often a GPU is made to wait inside, as torch itself tells; 0 elsewhere."""
    found = [0]
    if device.type != "cuda":
        yield found
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode("default")
            found[0] = sum("synchroniz" in str(one.message) for one in caught)
