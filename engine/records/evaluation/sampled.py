"""A fixed sample of questions: the same for every model and every run. Knows nothing of what is asked."""

import random
from collections.abc import Sequence
from typing import TypeVar

Row = TypeVar("Row")

# Of all draws: another number is another sample, whose figures compare with none of before.
SEED = 0


def sampled(rows: Sequence[Row], limit: int, *, most: int) -> list[Row]:
    """`limit` rows (0: `most`), drawn by SEED, in the order in which they stand; all where there are no more. A smaller
    limit takes some of those that a larger one takes."""
    order = random.Random(SEED).sample(range(len(rows)), len(rows))
    return [rows[place] for place in sorted(order[: limit or most])]
