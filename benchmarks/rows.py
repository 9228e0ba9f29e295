"""What every benchmark gives: a name and its figures by unit."""

from typing import NamedTuple


class Row(NamedTuple):
    """figures: value by unit, such as {"seconds": 1.2}."""

    name: str
    figures: dict[str, float]
