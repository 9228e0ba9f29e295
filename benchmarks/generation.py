"""Answers of the base and the rerouted model: in one batch, against one after the other, on the same prompts.

`one after the other` is timed both with transformers' own loop under peft's adapters and with this engine's, so that
the batch is not measured against a slow rival alone. Kinds take turns, so that a busy machine is busy for all of them.
"""

import statistics
import time
from collections.abc import Callable, Sequence

import torch

from benchmarks.rows import Row
from engine.compute.model.adapters import adapted, attach_adapter, remove_adapter
from engine.compute.model.generation import Ask, answered_ids
from engine.compute.model.load import load_model
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.mixed import Voice
from engine.compute.model.text import chat_text, prompt_tokens
from engine.compute.steps import drained
from engine.records.chats.chat import Sampling
from engine.records.prompts import read_source
from engine.records.settings import read_settings
from engine.records.spec import AdapterSpec, ModelSpec

TOKENS = 32
PROMPTS = 4
ADAPTED = range(8, 20)
VOICES = (Voice(), Voice("benchmark"))

Answers = list[list[int]]


def measure(repeats: int) -> list[Row]:
    """Tokens a second of each way to answer with both models, and the share of prompts where all ways said the same."""
    model = load_model(ModelSpec(), read_settings())
    attach_adapter(model, "benchmark", AdapterSpec(noise=0.02), ADAPTED, seed=0)
    try:
        prompts = [
            prompt_tokens(model, chat_text(model.tokenizer, prompt.turns))
            for prompt in read_source("sample:benign", label="benign")[:PROMPTS]
        ]
        ways: dict[str, Callable[[Sequence[int]], Answers]] = {
            "one after the other, peft": lambda ids: [_peft(model, ids, voice) for voice in VOICES],
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
    return rows


def _peft(model: LoadedModel, ids: Sequence[int], voice: Voice) -> list[int]:
    prompt = torch.tensor([list(ids)], device=model.device)
    with adapted(model, voice.adapter):
        output = model.causal_lm.generate(  # type: ignore[operator]
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=TOKENS, do_sample=False
        )
    end = model.tokenizer.eos_token_id
    return [token for token in output[0, len(ids) :].tolist() if token != end]


def _mixed(model: LoadedModel, ids: Sequence[int], voices: Sequence[Voice]) -> Answers:
    return drained(answered_ids(model, [Ask(ids, voice) for voice in voices], Sampling(new_tokens=TOKENS)))
