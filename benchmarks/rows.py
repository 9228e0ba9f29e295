"""What every benchmark gives: a name and its figures by unit."""

import importlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple, ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Row(NamedTuple):
    """figures: value by unit, such as {"seconds": 1.2}."""

    name: str
    figures: dict[str, float]


def alone(function: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
    """Call it in a new process, so that what others have left in memory is not counted."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(function, *arguments, **named).result()


def measured(section: str, repeats: int) -> list[Row]:
    """The rows of one module of this folder; here, where a process of its own finds it."""
    return importlib.import_module(f"benchmarks.{section}").measure(repeats)
