"""Block lists as text and as numbers: which blocks of a model, and which modules of a block, a spec names.

Knows nothing of models.
"""

import re
from collections.abc import Collection
from typing import NamedTuple

from engine.records.conversation import Label
from engine.records.errors import SpecError
from engine.records.spec import RunSpec


class ResolvedBlocks(NamedTuple):
    """The spec's block lists as numbers for one model, each sorted and from 0."""

    targets: tuple[int, ...]
    adapted: tuple[int, ...]
    retain: tuple[int, ...]

    @property
    def last(self) -> int:
        """The last block that any loss or adapter needs; blocks beyond it are never run."""
        return max(*self.targets, *self.adapted, *self.retain)

    def compared(self, label: Label) -> tuple[int, ...]:
        """Where rows of this side are compared with the base model, in training and when they are measured."""
        return self.targets if label == "harmful" else tuple(sorted({*self.retain, *self.targets}))

    @property
    def first_adapted(self) -> int:
        return min(self.adapted)

    def learning(self, spec: RunSpec, block_count: int) -> range:
        """The blocks that gradients go back through: up to the last one that a loss needs, and to the model's end where
        answers are held by what they foretell."""
        return range(self.first_adapted, block_count if spec.loss.answer_weight else self.last + 1)


def resolve_blocks(spec: RunSpec, block_count: int) -> ResolvedBlocks:
    """Numbers for the spec's block lists in a model of `block_count` blocks.

    Raises SpecError for a block that does not exist, a target that no adapter can move, or an adapted block that no
    loss sees (its starting noise would damage the model: see docs/decisions/0002).
    """
    targets = parse_blocks(spec.blocks.targets, block_count)
    adapted = parse_blocks(spec.blocks.adapted, block_count)
    wanted = spec.loss.retain_blocks.strip()
    retain = adapted if wanted == "adapted" else parse_blocks(wanted, block_count)
    for block in targets:
        if block < adapted[0]:
            raise SpecError(
                f"Target block {block} lies below the first adapted block {adapted[0]}, so nothing can move it: "
                f"adapt block {block} or one below it, or choose a target from {adapted[0]} on."
            )
    if spec.harmfulness.probe:
        probe_block(spec, block_count)
    seen = max(*targets, *retain)
    if adapted[-1] > seen:
        raise SpecError(
            f"Adapted block {adapted[-1]} lies above block {seen}, the last one that a loss sees: "
            f"adapt blocks up to {seen} only, or add {adapted[-1]} to the targets or the retain blocks."
        )
    return ResolvedBlocks(targets, adapted, retain)


def probe_block(spec: RunSpec, block_count: int) -> int:
    """The block whose output the harmfulness probe reads. Raises SpecError unless the spec names one that exists."""
    given = spec.harmfulness.block.strip()
    found = parse_blocks(given or spec.blocks.targets, block_count)
    if given and len(found) > 1:
        raise SpecError(f"The harmfulness probe reads one block, not {len(found)} ('{given:.40}'): name one.")
    return found[-1]


def picture_blocks(blocks: ResolvedBlocks, block_count: int) -> tuple[int, ...]:
    """Three blocks that tell what a run did where prompts are many: its targets, and if they leave room the block half
    way up to them from the first adapted one, and that half way from them to the last."""
    low, high = blocks.targets[0], blocks.targets[-1]
    others = ((blocks.first_adapted + low) // 2, (high + block_count) // 2)
    chosen = list(dict.fromkeys((low, high, *(block for block in others if block < block_count))))
    return tuple(sorted(chosen[:3]))


def parse_blocks(text: str, block_count: int) -> tuple[int, ...]:
    """Block numbers from text such as '9, 19', '0-19' or '33%, 60%-66%' (0% is block 0, 100 % the last one).

    Raises SpecError for text of another form and for a block that does not exist.
    """
    blocks: set[int] = set()
    for piece in filter(None, re.split(r"[,\s]+", re.sub(r"\s*-\s*", "-", text.strip()))):
        match = re.fullmatch(r"(\d{1,9}%?)(?:-(\d{1,9}%?))?", piece)
        if match is None:
            raise SpecError(
                f"'{piece:.40}' is not a block list: write numbers, ranges or depths, such as 9, 0-19 or 66%."
            )
        first = _block_number(match[1], block_count)
        last = _block_number(match[2], block_count) if match[2] else first
        if last < first:
            raise SpecError(f"The range {piece} runs backwards: write {match[2]}-{match[1]}.")
        blocks.update(range(first, last + 1))
    if not blocks:
        raise SpecError("No block is chosen: choose at least one.")
    return tuple(sorted(blocks))


def format_blocks(blocks: tuple[int, ...] | list[int]) -> str:
    """The shortest block list that parses back to these blocks: '0-19' for twenty neighbours."""
    pieces: list[str] = []
    ordered = sorted(set(blocks))
    start = 0
    for index in range(1, len(ordered) + 1):
        if index == len(ordered) or ordered[index] != ordered[index - 1] + 1:
            first, last = ordered[start], ordered[index - 1]
            pieces.append(str(first) if first == last else f"{first}-{last}")
            start = index
    return ", ".join(pieces)


def paper_layer(block: int) -> int:
    """The paper's layer number (an index into hidden_states) of a block's output: block 9 is its layer 10."""
    return block + 1


def _block_number(text: str, block_count: int) -> int:
    number = int(text.rstrip("%"))
    if text.endswith("%"):
        if number > 100:
            raise SpecError(f"Depth {text} does not exist: choose 0% to 100%.")
        return round(number / 100 * (block_count - 1))
    if number >= block_count:
        raise SpecError(f"Block {number} does not exist: choose 0 to {block_count - 1}.")
    return number


def is_adapted(module: str, wanted: Collection[str]) -> bool:
    """Whether a block's linear module gets an adapter. wanted: full names or their last parts; empty: all."""
    return not wanted or module in wanted or module.rpartition(".")[2] in wanted


def unknown_modules(known: Collection[str], wanted: Collection[str]) -> list[str]:
    """Those that name no module."""
    return [name for name in wanted if not any(name in (full, full.rpartition(".")[2]) for full in known)]
