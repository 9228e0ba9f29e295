"""Prompt sources for jobs: files through engine.records.prompt_files, and Hugging Face datasets. Knows nothing of
tokens."""

import os
from collections.abc import Generator, Iterator
from typing import Any

from engine.compute.steps import drained, told
from engine.records.conversation import Label
from engine.records.errors import DataError
from engine.records.events import Progress
from engine.records.prompt_files import prompts_of, source_file
from engine.records.prompts import Prompt
from engine.records.row_files import file_rows
from engine.records.settings import given_path
from engine.records.sources import HUB, Source, parse_sources


def read_prompts(source: str, *, label: Label, answer_field: str = "") -> list[Prompt]:
    """Prompts of any source that a spec may name. Raises DataError naming source, row and field, or saying why a
    dataset cannot be had."""
    return drained(reading(source, label=label, answer_field=answer_field))


def reading(source: str, *, label: Label, answer_field: str = "") -> Generator[Progress, None, list[Prompt]]:
    """As `read_prompts`, some hundred rows at a time."""
    found: list[Prompt] = []
    for part in parse_sources(source):
        if part.is_remote:
            name, rows, folder = part.name, _dataset_rows(part), None
        else:
            path = source_file(part)
            name, rows, folder = path.name, file_rows(path), path.parent
        reader = prompts_of(part, rows, name=name, label=label, answer_field=answer_field, folder=folder)
        before = len(found)

        def say(read: int, part: Source = part, before: int = before) -> Progress:
            return Progress(phase="loading", message=f"Reading {part.name}: {before + read} {label} prompts")

        found += yield from told(reader, say)
    return found


def _dataset_rows(source: Source) -> Iterator[tuple[int, Any]]:
    """`hub:DATASET`, its train split, or `hub:DATASET:SPLIT`."""
    name, _, split = source.name.removeprefix(HUB).partition(":")
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise DataError(
            f"{source.name} needs the package 'datasets': install it with `pip install datasets`."
        ) from error
    if os.path.exists(there := os.path.expanduser(name)):
        # The library takes a folder as well, which must be one that may be read here.
        name = str(given_path(there, error=DataError))
    try:
        dataset = load_dataset(name, split=split or "train")
    except Exception as error:  # The library raises kinds of its own, of requests and of the file system.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"The dataset {name} cannot be read: {reason[:300]}. Check its name and the network."
        ) from error
    yield from enumerate(dataset, start=1)
