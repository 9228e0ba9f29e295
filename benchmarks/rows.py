"""What every benchmark gives: a name and its figures by unit."""

import importlib
from typing import NamedTuple


class Row(NamedTuple):
    """figures: value by unit, such as {"seconds": 1.2}."""

    name: str
    figures: dict[str, float]


def measured(section: str, repeats: int) -> list[Row]:
    """The rows of one module of this folder; here, where a process of its own finds it."""
    return importlib.import_module(f"benchmarks.{section}").measure(repeats)
