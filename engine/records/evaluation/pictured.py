"""Requests that show pictures, to evaluate on: the test split of the sets that ship, or a file of both labels. Knows
nothing of models or tokens."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from engine.records.conversation import Label
from engine.records.errors import DataError
from engine.records.evaluation.rows import EvaluationRow
from engine.records.evaluation.sides import SidedRows, limited, row_of, sided
from engine.records.picture_rows import picture_set_file, with_pictures
from engine.records.prompts import optional_text, prompt_from_row, row_label
from engine.records.row_files import file_rows
from engine.records.settings import given_path
from engine.records.sources import PICTURES

SAMPLE = "sample"


class _Read(NamedTuple):
    label: Label
    split: str
    row: EvaluationRow


def read_pictured_rows(source: str, *, limit: int = 0) -> SidedRows:
    """Rows of `sample` (the test split of both sets that ship; `pictures:NAME`: of one of them), or of a file:
    {"prompt", "picture", "target" (optional), "harmful"}, with the fields of other prompt files beside them; `limit`
    takes at most so many of each side, evenly; 0: all.

    Raises DataError naming file, row and value, or the package of pictures that is not fetched, and for a row that
    shows no picture or offers tools.
    """
    if source == SAMPLE or source.startswith(PICTURES):
        names = [f"{PICTURES}harmful", f"{PICTURES}benign"] if source == SAMPLE else [source]
        found = [one for name in names for one in _rows(picture_set_file(name)) if one.split == "test"]
        if not found:
            raise DataError(f"{source} has no test rows, its rows are all for training: give '{SAMPLE}' or a file.")
    else:
        found = list(_rows(given_path(source, error=DataError)))
    if not found:
        raise DataError(f"{Path(source).name} has no rows: give a file with at least one request.")
    return limited(sided((one.label, one.row) for one in found), limit)


def _rows(path: Path) -> Iterator[_Read]:
    for number, row in file_rows(path):
        where = f"{path.name}, row {number}"
        shown = with_pictures(row, where, path.parent)
        if not isinstance(shown, dict):
            raise DataError(f"{where}: expected an object with 'prompt' and 'picture'.")
        if shown.get("tools"):
            raise DataError(f"{where}: offers tools, and is no request that shows a picture alone: ask it by --tools.")
        label = row_label(shown, where)
        prompt = prompt_from_row(shown, where, label, "")
        if not prompt.conversation.pictures:
            raise DataError(f"{where}: shows no picture: name one in 'picture', or ask it as a request of text.")
        target = optional_text(shown, "target", where).strip()
        yield _Read(label, prompt.split, row_of(prompt)._replace(target=target))
