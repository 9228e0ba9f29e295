"""Generators that advance other generators. Knows nothing of models."""

from collections.abc import Callable, Generator
from typing import Any, TypeVar

Given = TypeVar("Given")
Told = TypeVar("Told")
Result = TypeVar("Result")


def told(steps: Generator[Given, None, Result], tell: Callable[[Given], Told]) -> Generator[Told, None, Result]:
    """Advance `steps`, yield what `tell` makes of each thing it yields, and return what it returns."""
    while True:
        try:
            given = next(steps)
        except StopIteration as end:
            return end.value
        yield tell(given)


def part(steps: Generator[float, None, list], number: int, parts: int) -> Generator[float, None, list]:
    """Advance one of several equal parts; yields shares of the whole."""
    return (yield from told(steps, lambda share: (number + share) / parts))


def inside(context: Callable[[], Any], steps: Generator[Given, None, Result]) -> Generator[Given, None, Result]:
    """Advance `steps` within the context, and leave it between steps: other jobs see the model as it was."""
    while True:
        try:
            with context():
                given = next(steps)
        except StopIteration as end:
            return end.value
        yield given
