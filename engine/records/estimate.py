"""What a run will cost, before it starts: pure arithmetic on the spec, the model's card and the machine's speed."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import psutil

from engine.records.blocks import resolve_blocks
from engine.records.cards import ModelCard
from engine.records.spec import RunSpec

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
# Of base activations of rows that come back. A function of the machine's whole memory, not of what is free: a resumed
# run must keep the same rows.
KEPT_BYTES = min(8 * 2**30, psutil.virtual_memory().total // 4)


# What one advance of the worker's loop may take: whoever asks meanwhile waits so long for a first word.
ADVANCE_SECONDS = 1.0
LEAST_TOKENS = 64
# Rows of similar length together are padded by about so much.
PADDED = 1.25
# Of the speed of a large matrix product, as measured: padding, attention and the small operations between.
EFFICIENCY = 0.5


class Estimate(NamedTuple):
    """Seconds are None where the machine's speed is not known yet."""

    trained_parameters: int
    memory_bytes: int
    training_seconds: float | None
    eliciting_seconds: float | None


def micro_batch_tokens(spec: RunSpec, card: ModelCard, speed: float, *, row_tokens: float) -> int:
    """How many tokens, padding included, go forwards and backwards at once: a step is cut into as few equal parts as
    take ADVANCE_SECONDS each on this machine, and no part is larger than the spec allows.

    speed: operations a second in a large matrix product, 0 where it is not known.  row_tokens: mean length of a row.
    Raises SpecError as estimate does.
    """
    most = spec.optimizer.tokens_per_micro_batch
    if not speed:
        return most
    blocks = resolve_blocks(spec, card.block_count)
    rows = spec.optimizer.circuit_breaker_batch + spec.optimizer.retain_batch
    # The opening that all rows share is run once, unless dropout draws anew for each.
    shared = 0.0 if spec.adapter.dropout else min(card.opening_tokens, row_tokens)
    seconds = (
        4.0
        * card.block_parameters
        * (blocks.last + 1 - blocks.first_adapted)
        * (rows * (row_tokens - shared) + shared)
        / (EFFICIENCY * speed)
    )
    parts = math.ceil(seconds / ADVANCE_SECONDS)
    return most if parts <= 1 else min(most, max(LEAST_TOKENS, math.ceil(PADDED * rows * row_tokens / parts)))


def estimate(
    spec: RunSpec,
    card: ModelCard,
    machine: Mapping[str, Any],
    *,
    training_rows: int,
    heldout_rows: int,
    prompt_tokens: float,
) -> Estimate:
    """Parameters, memory and time of a run.

    machine: {"flops_per_second": float} as the worker measured it. Rows: both sides together. prompt_tokens: mean
    length of a prompt. Time: 2 operations a parameter and token forwards and 2 backwards, since the weights stay as
    they are; base activations once a row; the opening that all prompts share not at all.
    Raises SpecError when the block lists do not fit the model.
    """
    blocks = resolve_blocks(spec, card.block_count)
    modules = {
        name: shape for name, shape in card.modules.items() if not spec.adapter.modules or name in spec.adapter.modules
    }
    trained = len(blocks.adapted) * sum(spec.adapter.rank * (inputs + outputs) for inputs, outputs in modules.values())

    answer_tokens = spec.data.new_tokens
    row_tokens = min(spec.data.max_tokens, prompt_tokens + answer_tokens)
    step_rows = spec.optimizer.circuit_breaker_batch + spec.optimizer.retain_batch
    step_tokens = step_rows * row_tokens
    depth = blocks.last + 1 - blocks.first_adapted
    read = row_tokens - card.opening_tokens
    # Dropout draws anew for every row, so that each reads its own opening.
    trained_tokens = step_rows * (row_tokens if spec.adapter.dropout else read)
    step_operations = 4.0 * card.block_parameters * depth * trained_tokens
    rows = training_rows + heldout_rows
    base_operations = 2.0 * card.block_parameters * (blocks.last + 1) * rows * read
    measures = spec.optimizer.steps // spec.captures.heldout_every + 2
    measure_operations = 2.0 * card.block_parameters * depth * heldout_rows * read * measures

    width = BYTES.get(card.dtype, 4)
    micro_tokens = min(step_tokens, spec.optimizer.tokens_per_micro_batch)
    activations = micro_tokens * depth * card.d_model * width * 34
    kept = rows * row_tokens * card.d_model * width * max(len(blocks.targets), len(blocks.retain)) / 2
    memory = card.parameters * width + trained * 16 + activations + min(kept, KEPT_BYTES)

    speed = machine.get("flops_per_second")
    training = eliciting = None
    if speed:
        training = (spec.optimizer.steps * step_operations + base_operations + measure_operations) / (
            EFFICIENCY * speed
        )
        # Measured for 96 rows together, 48 new tokens each: a decoding step reads all weights for a few products.
        elicited = rows if spec.data.answers == "elicit" else 0
        eliciting = 1.8 * 2.0 * card.parameters * elicited * read / speed
    return Estimate(trained, int(memory), training, eliciting)
