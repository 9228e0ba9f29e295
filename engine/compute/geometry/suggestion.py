"""Where to intervene, from figures of every block; or that it cannot be told, and what to capture instead.

Figures in, block lists and sentences out. Knows nothing of vectors or files.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from engine.compute.geometry.certainty import prompts_needed
from engine.compute.geometry.separation import SMALLEST_CLASS
from engine.records.blocks import format_blocks
from engine.records.captures.projections import BlockExamination

NEARLY = 0.01
# Shares of the depth that the target is looked for in.
LOWEST, HIGHEST = 0.4, 0.76
# Blocks may be captured in strides: none of the depth's twentieths may go unseen.
STRIDE = 20
WORTH_KNOWING = 0.75
_FEW = 48


class Suggestion(NamedTuple):
    """Where to intervene, as block lists ('' where it cannot be told), and why."""

    targets: str
    adapted: str
    reason: str


class Counts(NamedTuple):
    """How many prompts of each group were probed; benign without borderline."""

    harmful: int
    benign: int
    borderline: int


class _Probed(NamedTuple):
    block: int
    auc: float
    low: float
    high: float
    chance: float


def suggest(found: Sequence[BlockExamination], block_count: int, counts: Counts) -> Suggestion:
    """The lowest block beyond 40 % of the depth that tells harmful from borderline prompts nearly as well as any, with
    adapters on it and the quarter of the depth below it.

    Deeper targets broke harm at less cost here (docs/decisions/0005); beyond three quarters of the depth too few blocks
    are left for the change to act on. None where blocks up to there were not captured, and where the best block's
    interval does not clear what shuffled labels reach: a block that is best among noise is none to train on.
    """
    against_borderline = any(one.auc_borderline is not None for one in found)
    what = "borderline" if against_borderline else "benign"
    inside = [one for one in found if LOWEST <= one.block / max(1, block_count - 1) <= HIGHEST]
    where = "between 40 and 76 % of the depth" if inside else "of those that were captured"
    inside = inside or list(found)
    known = [probed for one in inside if (probed := _probed(one, borderline=against_borderline)) is not None]
    best = max(known, key=lambda one: one.auc) if known else None
    others = counts.borderline if against_borderline else counts.benign
    reasons = []
    if best is None:
        reasons.append(
            f"an AUC needs at least {SMALLEST_CLASS} prompts of each side, and there are {counts.harmful} harmful and "
            f"{counts.benign} benign ones"
        )
    elif best.low <= best.chance:
        reasons.append(
            f"the best block {where}, {best.block}, tells harmful from {what} prompts with a "
            f"held-out AUC of {best.auc:.2f} (95 % interval {best.low:.2f} to {best.high:.2f}, n = {counts.harmful} + "
            f"{others}), and shuffled labels reach {best.chance:.2f}"
        )
    missing = _missing([one.block for one in found], block_count)
    if missing:
        reasons.append(f"block{'s' * (len(missing) > 1)} {format_blocks(missing)} {_were(missing)} not captured")
    if reasons or best is None:
        advice = _advice(best, counts, others, block_count)
        return Suggestion("", "", f"Cannot tell where to train: {'; '.join(reasons)}. {advice}")
    # Nearly as good, and as sure: the best one is both.
    chosen = next(one for one in known if one.auc >= best.auc - NEARLY and one.low > one.chance)
    first = max(0, chosen.block - round(0.25 * block_count))
    compared = (
        "the best there is" if chosen.block == best.block else f"the best is {best.auc:.2f} at block {best.block}"
    )
    return Suggestion(
        str(chosen.block),
        format_blocks(list(range(first, chosen.block + 1))),
        f"A linear probe tells harmful from {what} prompts at block {chosen.block} with a held-out AUC of "
        f"{chosen.auc:.2f} (95 % interval {chosen.low:.2f} to {chosen.high:.2f}, n = {counts.harmful} + {others}; "
        f"shuffled labels reach {chosen.chance:.2f}; {compared}). It is the lowest such block {where}; "
        f"adapters on the {chosen.block - first + 1} blocks up to it can turn it away.",
    )


def _probed(one: BlockExamination, *, borderline: bool) -> _Probed | None:
    if borderline:
        values = (one.auc_borderline, one.auc_borderline_low, one.auc_borderline_high, one.auc_borderline_chance)
    else:
        values = (one.auc, one.auc_low, one.auc_high, one.auc_chance)
    numbers = [value for value in values if value is not None and np.isfinite(value)]
    return _Probed(one.block, *numbers) if len(numbers) == len(values) else None


def _missing(captured: Sequence[int], block_count: int) -> list[int]:
    """Blocks up to the highest that may be a target and that no captured block stands for."""
    gap = max(1, block_count // STRIDE)
    return [
        block for block in range(_highest(block_count) + 1) if not any(abs(block - other) < gap for other in captured)
    ]


def _highest(block_count: int) -> int:
    """The highest block that may be a target."""
    return round(HIGHEST * (block_count - 1))


def _were(blocks: Sequence[int]) -> str:
    return "were" if len(blocks) > 1 else "was"


def _advice(best: _Probed | None, counts: Counts, others: int, block_count: int) -> str:
    """What to capture: as many a side as would settle an AUC that is worth knowing, and twice as many as were too few;
    of benign prompts as many more as there are of which the borderline ones are a part."""
    needed = _FEW if best is None else prompts_needed(max(best.auc, WORTH_KNOWING))
    if best is not None and best.low <= best.chance:
        needed = max(needed, 2 * min(counts.harmful, others))
    benign = counts.benign + counts.borderline
    share = others / benign if others and benign else 1.0
    return f"Capture at least {-(-round(needed / share) // 8) * 8} prompts a side, blocks 0 to {_highest(block_count)}."
