"""Requests that show pictures, to evaluate on: a file of both labels. Knows nothing of models or tokens."""

from engine.records.errors import DataError
from engine.records.evaluation.sides import SidedRows, limited, row_of, sided
from engine.records.picture_rows import with_pictures
from engine.records.prompts import optional_text, prompt_from_row, row_label
from engine.records.row_files import file_rows
from engine.records.settings import given_path


def read_pictured_rows(source: str, *, limit: int = 0) -> SidedRows:
    """Rows {"prompt", "picture", "target" (optional), "harmful"} of a file, with the fields of other prompt files
    beside them; `limit` takes at most so many of each side, evenly; 0: all.

    Raises DataError naming file, row and value, and for a row that shows no picture or offers tools.
    """
    path = given_path(source, error=DataError)
    found = []
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
        found.append((label, row_of(prompt)._replace(target=target)))
    if not found:
        raise DataError(f"{path.name} has no rows: give a file with at least one request.")
    return limited(sided(found), limit)
