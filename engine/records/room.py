"""What a run takes in memory, and what of it a GPU holds: pure arithmetic on the spec and the model's card."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from engine.records.blocks import resolve_blocks
from engine.records.cards import ModelCard
from engine.records.machine_memory import total_memory
from engine.records.spec import RunSpec

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
# Of base activations of rows that come back. A function of the machine's whole memory, not of what is free: a resumed
# run must keep the same rows.
KEPT_BYTES = min(8 * 2**30, total_memory() // 4)
# On a GPU they lie in its own memory, which is the scarcer one: so much of it.
KEPT_SHARE_OF_GPU = 1 / 16

# What a block leaves for the backward pass, in numbers a token as a multiple of d_model: inputs of all products,
# queries, keys, values, both norms in float32, and the gated width (3.5 d_model) four times.
LEFT_FOR_BACKWARD = 34
# Where answers are held by what they foretell: so much of a micro-batch are tokens behind which one is foretold (benign
# rows' answers alone), and behind each stand logits of both models in the weights' width, with what float32 makes of
# them forwards and backwards.
FORETELLING = 1 / 4
LOGITS_IN_FLOAT32 = 5
# Bytes a trained parameter takes: itself, its gradient, and two moments, in float32.
TRAINED_BYTES = 16
# Of a GPU's memory, what a run may count on: the rest is fragments and what the driver keeps.
USABLE = 0.9


class MemoryPart(NamedTuple):
    """What takes memory, in the words of the screen, and how much."""

    name: str
    bytes: int


def weight_bytes(card: ModelCard) -> int:
    """What a model's weights take in memory."""
    return card.parameters * BYTES.get(card.dtype, 4)


def held_bytes(card: ModelCard, shares: int) -> int:
    """What a process holds of the weights where so many share them: of the blocks its share, and all else whole."""
    blocks = card.block_count * card.block_parameters
    return (card.parameters - blocks + blocks // shares) * BYTES.get(card.dtype, 4)


def shares_of(machine: Mapping[str, Any]) -> int:
    """Into how many shares the weights are divided, one a process."""
    return max(1, int(machine.get("shares", 1)))


def on_gpu(machine: Mapping[str, Any]) -> bool:
    """machine: as the worker measured it, its device and memory."""
    return str(machine.get("device", "")).startswith("cuda") and bool(machine.get("memory_bytes"))


def kept_bytes(machine: Mapping[str, Any]) -> int:
    """The most that a run keeps of base activations: nothing where weights are sharded, since each process then needs
    as many passes as the others, whatever rows it has."""
    if shares_of(machine) > 1:
        return 0
    return int(min(KEPT_BYTES, KEPT_SHARE_OF_GPU * machine["memory_bytes"])) if on_gpu(machine) else KEPT_BYTES


def kept_token_bytes(spec: RunSpec, card: ModelCard) -> float:
    """What a token keeps of base activations, the mean of both sides: at the blocks where its side is compared, at what
    enters the first adapted one where that is not the first, and of benign rows at the last block too, where answers
    are held by what they foretell."""
    blocks = resolve_blocks(spec, card.block_count)
    held = {card.block_count - 1} if spec.loss.answer_weight else set()
    places = len(blocks.targets) + len({*blocks.compared("benign"), *held}) + 2 * (blocks.first_adapted > 0)
    return places / 2 * card.d_model * BYTES.get(card.dtype, 4)


def reading_bytes(card: ModelCard, tokens: float) -> int:
    """What a pass without gradients takes at its widest, in the block it is at."""
    outputs = sum(shape[1] for shape in card.modules.values()) or 12 * card.d_model
    # Beside them what enters and leaves, and the norm's float32.
    return int(tokens * (BYTES.get(card.dtype, 4) * (outputs + 4 * card.d_model) + 8 * card.d_model))


def learning_bytes(spec: RunSpec, card: ModelCard, tokens: float, *, checkpointing: bool) -> int:
    """What so many tokens leave behind on their way forwards until they have gone backwards. Checkpointing leaves what
    enters each block, and all of one block at a time."""
    depth = len(resolve_blocks(spec, card.block_count).learning(spec, card.block_count))
    width = BYTES.get(card.dtype, 4)
    blocks_leave = card.d_model * width * (depth + LEFT_FOR_BACKWARD if checkpointing else depth * LEFT_FOR_BACKWARD)
    vocabulary = card.head_parameters / card.d_model if spec.loss.answer_weight else 0
    head_leaves = FORETELLING * vocabulary * (2 * width + 4 * LOGITS_IN_FLOAT32)
    return int(tokens * (blocks_leave + head_leaves))


def whole_room(card: ModelCard, machine: Mapping[str, Any]) -> float:
    """What a micro-batch may leave behind where nothing else uses the GPU; 0 (no bound) on other machines, where a
    second of work bounds it long before memory does."""
    if not on_gpu(machine):
        return 0.0
    weights = held_bytes(card, shares_of(machine))
    return max(1.0, USABLE * float(machine["memory_bytes"]) - weights - kept_bytes(machine))


def checkpoints_gradients(spec: RunSpec, card: ModelCard, machine: Mapping[str, Any], *, pictured: int = 0) -> bool:
    """Whether the backward pass computes blocks anew. "auto": where the longest row alone would not fit the GPU's whole
    memory otherwise, whatever is free at the moment: a run that is resumed computes as it did. Smaller micro-batches
    come first, since they cost next to nothing; this costs a third. pictured: tokens of pictures, which max_tokens does
    not count.
    """
    setting = spec.optimizer.gradient_checkpointing
    if setting != "auto":
        return setting == "on"
    longest = learning_bytes(spec, card, spec.data.max_tokens + pictured, checkpointing=False)
    return 0 < whole_room(card, machine) < longest
