"""Some of many rows, evenly taken: no draw, and no end of the list preferred."""

from collections.abc import Sequence
from typing import TypeVar

Row = TypeVar("Row")


def evenly(rows: Sequence[Row], limit: int) -> list[Row]:
    """At most so many, in the order in which they stand; 0: all."""
    if not limit or limit >= len(rows):
        return list(rows)
    return [rows[index * len(rows) // limit] for index in range(limit)]
