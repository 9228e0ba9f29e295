"""Representation attack: add back, while the model answers, what the circuit breaker took out of its activations.

The attacker has the weights and the base model. Knows nothing of verdicts.
"""

from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from engine.compute.evaluation.attacks.attempt import Attempt, Attempts, Options, answers
from engine.compute.evaluation.attacks.targets import target_ids
from engine.compute.model.activations import block_activations
from engine.compute.model.adapters import adapted
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.padding import batch_of
from engine.compute.model.pushes import Push, PushedRows, pushed
from engine.compute.model.text import tokens_of
from engine.compute.steps import inside, part
from engine.records.evaluation.rows import EvaluationRow
from engine.records.evenly import evenly
from engine.records.prompt_files import read_source

STRENGTHS = (1.0, 0.5, 2.0, 4.0)
DEPTHS = (0.35, 0.5, 0.65, 0.8)
BATCH = 8
DIRECTION_ROWS = 32


class Direction(NamedTuple):
    """The mean way from rerouted back to base activations of one block.  share: its length by that of the base
    activations' deviation; the block with the largest is the one that is steered."""

    block: int
    vector: Float[Tensor, " d_model"]
    share: float


def steering(model: LoadedModel, adapter: str | None, rows: Sequence[EvaluationRow], options: Options) -> Attempts:
    """The request, answered with the direction added at several strengths; the budget is how many are tried. The base
    model has nothing to be added back: it answers the plain request."""
    prompts = [tokens_of(model, row.conversation).ids for row in rows]
    if adapter is None:
        plain = yield from answers(model, adapter, prompts, options)
        return [[Attempt(1, p, tuple(a))] for p, a in zip(prompts, plain, strict=True)]
    direction = yield from rerouting_direction(model, adapter, direction_rows())
    found: list[list[Attempt]] = [[] for _ in rows]
    strengths = STRENGTHS[: options.budget]
    for number, strength in enumerate(strengths):
        steps = part(answers(model, adapter, prompts, options), number, len(strengths))
        said = yield from inside(lambda strength=strength: steered(model, direction, strength), steps)  # type: ignore[misc]
        asked = f"steered at block {direction.block}, strength {strength:g}"
        for row, prompt, ids in zip(found, prompts, said, strict=True):
            row.append(Attempt(number + 1, prompt, tuple(ids), (), asked))
    return found


def direction_rows() -> list[EvaluationRow]:
    """Requests of the sample set's training split, evenly chosen: what is steered is the same whatever is attacked."""
    prompts = [p.conversation for p in read_source("sample:harmful", label="harmful") if p.split == "train"]
    return [EvaluationRow(prompt) for prompt in evenly(prompts, DIRECTION_ROWS)]


def rerouting_direction(
    model: LoadedModel, adapter: str, rows: Sequence[EvaluationRow]
) -> Generator[float, None, Direction]:
    """From the requests and the words that a compliant answer would begin with."""
    blocks = sorted({round(depth * (len(model.blocks) - 1)) for depth in DEPTHS})
    texts = [(tokens_of(model, row.conversation).ids, target_ids(model, row)) for row in rows]
    base: dict[int, list[Tensor]] = {block: [] for block in blocks}
    rerouted: dict[int, list[Tensor]] = {block: [] for block in blocks}
    for start in range(0, len(texts), BATCH):
        group = texts[start : start + BATCH]
        batch = batch_of(model, [(*p, *t) for p, t in group])
        for name, kept in ((None, base), (adapter, rerouted)):
            with torch.no_grad(), adapted(model, name):
                outputs = block_activations(model, batch, blocks).outputs
            for block in blocks:
                kept[block] += [outputs[block][i, len(p) - 1 : len(p) + len(t)] for i, (p, t) in enumerate(group)]
        yield 0.0
    found = []
    for block in blocks:
        before, after = torch.cat(base[block]).float(), torch.cat(rerouted[block]).float()
        vector = (before - after).mean(0)
        spread = (before - before.mean(0)).square().sum(-1).mean().sqrt().clamp_min(1e-9)
        found.append(Direction(block, vector, float(vector.norm() / spread)))
    return max(found, key=lambda one: one.share)


def steered(model: LoadedModel, direction: Direction, strength: float) -> AbstractContextManager[None]:
    """The direction is added to every activation that leaves its block; on leaving, the hook is gone."""
    push = Push("steering", direction.block, strength * direction.vector)
    return pushed(model, [PushedRows(slice(None), push)])
