"""Rows out of files: JSONL, JSON lists, CSV and Parquet. Knows nothing of what a row means."""

import csv
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from engine.records.errors import DataError

REFUSED_SUFFIXES = {".pkl", ".pickle", ".pt", ".pth", ".bin", ".npy", ".npz", ".joblib"}
# Read in one go; whoever reads many comes up for air between.
ROWS_AT_ONCE = 500
# Of characters: longer than any answer, and the csv module's own limit is shorter than some.
LONGEST_CELL = 10_000_000


def file_rows(path: Path) -> Iterator[tuple[int, Any]]:
    """The rows of a file with their numbers, from 1, as they are asked for. Raises DataError naming file and row."""
    if path.suffix.lower() in REFUSED_SUFFIXES:
        raise DataError(f"{path.name} may run code when it is opened: convert it to JSON or JSONL first.")
    # Path.is_file raises where a name is too long for any file.
    if not os.path.isfile(path):
        raise DataError(f"The prompt file {path} does not exist: check the path.")
    if path.suffix.lower() == ".parquet":
        yield from _parquet_rows(path)
        return
    try:
        with path.open(encoding="utf-8-sig", newline="" if path.suffix.lower() == ".csv" else "\n") as file:
            if path.suffix.lower() == ".csv":
                yield from _csv_rows(path.name, file)
            elif _opening(file) == "[":
                yield from _list_rows(path.name, file.read())
            else:
                yield from _line_rows(path.name, file)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path.name} cannot be read as UTF-8 text: {error}.") from error


def _opening(file: Any) -> str:
    """The first character of a text that is no space; the file is at its beginning again afterwards."""
    while (character := file.read(1)).isspace():
        pass
    file.seek(0)
    return character


def _line_rows(name: str, lines: Iterable[str]) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{name}, row {number}: not JSON ({error}). Correct this row.") from error
            yield number, row


def _list_rows(name: str, text: str) -> Iterator[tuple[int, Any]]:
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name} is not a JSON list: {error}. Correct the file.") from error
    yield from enumerate(rows, start=1)


def _csv_rows(name: str, lines: Iterable[str]) -> Iterator[tuple[int, Any]]:
    csv.field_size_limit(LONGEST_CELL)
    try:
        for number, row in enumerate(csv.DictReader(lines), start=1):
            # An empty cell says nothing; cells beyond the headings belong to no column.
            yield number, {column: value or None for column, value in row.items() if column is not None}
    except csv.Error as error:
        raise DataError(f"{name} is no CSV: {error}. Correct the file.") from error


def _parquet_rows(path: Path) -> Iterator[tuple[int, Any]]:
    # Loading it takes longer than reading most prompt files.
    import pyarrow
    import pyarrow.parquet

    try:
        number = 0
        for batch in pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=ROWS_AT_ONCE):
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path.name} is no Parquet file: {str(error).splitlines()[0]}. Fetch it again.") from error
