"""Generators that advance other generators. Knows nothing of models."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from typing import Any, TypeVar

Given = TypeVar("Given")
Told = TypeVar("Told")
Result = TypeVar("Result")
Context = Callable[[], AbstractContextManager[Any]]


def told(
    steps: Generator[Given, None, Result], tell: Callable[[Given], Told], *, within: Context = nullcontext
) -> Generator[Told, None, Result]:
    """Advance `steps`, yield what `tell` makes of each thing it yields, and return what it returns.

    Each step is taken within a context of its own. `steps` is closed with this generator, or when either fails.
    """
    with closing(steps):
        while True:
            try:
                with within():
                    given = next(steps)
            except StopIteration as end:
                return end.value
            yield tell(given)


class Stopwatch:
    """Adds up the seconds spent within `running`, by the wall's clock."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - began


def part(steps: Generator[float, None, list], number: int, parts: int) -> Generator[float, None, list]:
    """Advance one of several equal parts; yields shares of the whole."""
    return (yield from told(steps, lambda share: (number + share) / parts))


def inside(context: Context, steps: Generator[Given, None, Result]) -> Generator[Given, None, Result]:
    """Advance `steps` within the context, and leave it between steps: other jobs see the model as it was."""
    return (yield from told(steps, lambda given: given, within=context))


def drained(steps: Generator[Given, None, Result], look: Callable[[Given], object] = lambda _: None) -> Result:
    """What `steps` returns, advanced to its end without a pause; `look` is shown each thing that it yields."""
    results: list[Result] = []

    def to_the_end() -> Generator[object, None, None]:
        results.append((yield from told(steps, look)))

    for _ in to_the_end():
        pass
    return results[0]
