"""Answers of the base and the rerouted model: in one batch, against one after the other, on the same prompts.

`one after the other` is timed both with transformers' own loop under peft's adapters and with this engine's, so that
the batch is not measured against a slow rival alone. Kinds take turns, so that a busy machine is busy for all of them.
"""

import statistics
import time
from collections.abc import Callable, Sequence

from benchmarks.rows import Row
from engine.compute.model.adapters import adapted, attach_adapter, remove_adapter
from engine.compute.model.generation import Ask, answered_ids
from engine.compute.model.load import load_model
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.mixed import Voice
from engine.compute.model.padding import batch_of
from engine.compute.model.text import tokens_of
from engine.compute.steps import drained
from engine.records.chats.asked import Sampling
from engine.records.prompt_files import read_source
from engine.records.settings import read_settings
from engine.records.spec_parts import AdapterSpec, ModelSpec

TOKENS = 32
PROMPTS = 4
BATCH = 16
ADAPTED = range(8, 20)
VOICES = (Voice(), Voice("benchmark"))

Answers = list[list[int]]


def measure(repeats: int) -> list[Row]:
    """Tokens a second of each way to answer with both models, and the share of prompts where all ways said the same."""
    model = load_model(ModelSpec(), read_settings())
    attach_adapter(model, "benchmark", AdapterSpec(noise=0.02), ADAPTED, seed=0)
    try:
        every = [
            tokens_of(model, prompt.conversation).ids for prompt in read_source("sample:benign", label="benign")[:BATCH]
        ]
        prompts = every[:PROMPTS]
        ways: dict[str, Callable[[Sequence[int]], Answers]] = {
            "one after the other, peft": lambda ids: [_peft(model, [ids], voice)[0] for voice in VOICES],
            "one after the other, this engine": lambda ids: [_mixed(model, ids, [voice])[0] for voice in VOICES],
            "one batch, this engine": lambda ids: _mixed(model, ids, VOICES),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        same: list[bool] = []
        for _ in range(repeats):
            for ids in prompts:
                said = []
                for name, way in ways.items():
                    started = time.perf_counter()
                    said.append(way(ids))
                    tokens = sum(map(len, said[-1]))
                    seconds[name].append((time.perf_counter() - started) / tokens)
                same.append(all(one == said[0] for one in said))
        batches = [_batch(model, every) for _ in range(max(1, repeats // 2))]
    finally:
        remove_adapter(model, "benchmark")
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    peft, own, batch = medians.values()
    rows = [Row(f"both models, {name}", {"tokens per second": 1 / median}) for name, median in medians.items()]
    rows.append(
        Row(
            "one batch against one after the other",
            {
                "times as fast as peft": peft / batch,
                "times as fast as this engine alone": own / batch,
                "share of prompts with the same text": statistics.mean(same),
            },
        )
    )
    ours, theirs = (statistics.median(times) for times in zip(*batches, strict=True))
    figures = {"tokens per second": 1 / ours, "times as fast as transformers and peft": theirs / ours}
    rows.append(Row(f"{BATCH} prompts of the circuit-broken model in one batch", figures))
    return rows


def _batch(model: LoadedModel, prompts: Sequence[Sequence[int]]) -> tuple[float, float]:
    """Seconds a token of a batch under the adapter: this engine's, and transformers' own loop under peft's adapter."""
    ways: tuple[Callable[[], Answers], ...] = (
        lambda: drained(answered_ids(model, [Ask(ids, VOICES[1]) for ids in prompts], Sampling(new_tokens=TOKENS))),
        lambda: _peft(model, prompts, VOICES[1]),
    )
    seconds = []
    for way in ways:
        started = time.perf_counter()
        tokens = sum(map(len, way()))
        seconds.append((time.perf_counter() - started) / tokens)
    return seconds[0], seconds[1]


def _peft(model: LoadedModel, prompts: Sequence[Sequence[int]], voice: Voice) -> Answers:
    batch = batch_of(model, prompts, side="left")
    with adapted(model, voice.adapter):
        output = model.causal_lm.generate(  # type: ignore[operator]
            batch.ids, attention_mask=batch.attention, max_new_tokens=TOKENS, do_sample=False
        )
    silent = {model.tokenizer.eos_token_id, model.tokenizer.pad_token_id}
    return [[token for token in row if token not in silent] for row in output[:, batch.ids.shape[1] :].tolist()]


def _mixed(model: LoadedModel, ids: Sequence[int], voices: Sequence[Voice]) -> Answers:
    return drained(answered_ids(model, [Ask(ids, voice) for voice in voices], Sampling(new_tokens=TOKENS)))
