"""How long rows are on both sides of a run, for what is reckoned before it starts. Knows nothing of models."""

from collections.abc import Sequence
from typing import NamedTuple


class SideLength(NamedTuple):
    """rows: how many a side has.  tokens: mean length of one with its answer.  drawn: how many a step draws."""

    rows: int
    tokens: float
    drawn: int


def step_share(sides: Sequence[SideLength]) -> float:
    """How long the rows of a step are, by the mean of all rows: a side of few long rows may fill half of each step."""
    rows, drawn = sum(side.rows for side in sides), sum(side.drawn for side in sides)
    mean = sum(side.rows * side.tokens for side in sides) / max(1, rows)
    return sum(side.drawn * side.tokens for side in sides) / drawn / mean if mean and drawn else 1.0
