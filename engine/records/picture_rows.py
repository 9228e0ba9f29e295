"""The pictures that a row of a prompt file names: found, looked at, and put into the row as parts of its message.

    {"prompt": "What is this?", "picture": "cat.png"}      {"prompt": "Compare.", "pictures": ["a.png", "b.png"]}
    {"messages": [{"role": "user", "content": [{"type": "picture", "file": "cat.png"}, {"type": "text", "text": ""}]}]}

A picture out of a package is named by package and file (engine.records.picture_sets). Knows nothing of models.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from engine.records.errors import DataError
from engine.records.picture_sets import is_reference, referenced_file
from engine.records.pictures import picture_at
from engine.records.row_files import file_rows
from engine.records.settings import SAMPLE_DATA, given_path
from engine.records.sources import PICTURES


def with_pictures(row: Any, where: str, folder: Path | None) -> Any:
    """The row with its pictures as parts under `pictures`, and as it is where it names none.

    folder: where the prompt file lies, to which the pictures' paths are relative; None where the rows come from no
    file. Raises DataError naming the row, and what is wrong with the picture.
    """
    if not isinstance(row, Mapping):
        return row
    if isinstance(row.get("messages"), list):
        if "picture" in row or "pictures" in row:
            raise DataError(f"{where}: a row with 'messages' shows pictures as parts of a message: name them there.")
        return {**row, "messages": [_message(message, where, folder) for message in row["messages"]]}
    given = _named(row, where)
    if not given:
        return row
    rest = {name: value for name, value in row.items() if name not in ("picture", "pictures")}
    return {**rest, "pictures": [_part(path, where, folder) for path in given]}


def picture_keys(file: Path) -> Iterator[str]:
    """Which pictures the rows of a prompt file show, in their order. Raises DataError as with_pictures does."""
    if b"picture" not in file.read_bytes():
        return
    for number, row in file_rows(file):
        shown = with_pictures(row, f"{file.name}, row {number}", file.parent)
        if isinstance(shown, Mapping):
            parts = [*(shown.get("pictures") or ()), *_parts(shown.get("messages"))]
            yield from (part["sha256"] for part in parts if isinstance(part, Mapping) and part.get("sha256"))


def picture_set_file(source: str) -> Path:
    """Where a set that ships lies, of `pictures:NAME`. Raises DataError for one that does not."""
    folder = SAMPLE_DATA / "pictures"
    path = folder / f"{source.removeprefix(PICTURES)}.jsonl"
    if not os.path.isfile(path) or path.parent != folder:
        names = ", ".join(f"{PICTURES}{file.stem}" for file in sorted(folder.glob("*.jsonl"))) or "none ships"
        raise DataError(f"There is no sample set of pictures '{source}': choose from those that ship ({names}).")
    return path


def _parts(messages: Any) -> Iterator[Any]:
    for message in messages if isinstance(messages, list) else ():
        content = message.get("parts", message.get("content")) if isinstance(message, Mapping) else ()
        yield from content if isinstance(content, list) else ()


def _named(row: Mapping[str, Any], where: str) -> list[str]:
    one, several = row.get("picture"), row.get("pictures")
    if one is not None and several is not None:
        raise DataError(f"{where}: has both 'picture' and 'pictures': name all of them in 'pictures'.")
    given = [one] if one is not None else several if several is not None else []
    if not isinstance(given, list) or not all(isinstance(path, str) and path.strip() for path in given):
        field = "picture" if one is not None else "pictures"
        raise DataError(f"{where}: field '{field}' is {str(row[field])[:60]!r}: give the path of a picture file.")
    return given


def _message(message: Any, where: str, folder: Path | None) -> Any:
    """A part that names a file gets what the file holds; one that says which picture it is keeps that."""
    if not isinstance(message, Mapping):
        return message
    field = "parts" if "parts" in message else "content"
    parts = message.get(field)
    if not isinstance(parts, list):
        return message
    return {**message, field: [_shown(part, where, folder) for part in parts]}


def _shown(part: Any, where: str, folder: Path | None) -> Any:
    if not isinstance(part, Mapping) or part.get("type") != "picture" or part.get("sha256"):
        return part
    file = part.get("file")
    if not isinstance(file, str) or not file.strip():
        return part
    return {**part, **_part(file, where, folder, alt=str(part.get("alt") or ""))}


def _part(path: str, where: str, folder: Path | None, *, alt: str = "") -> dict[str, Any]:
    try:
        return picture_at(_place(path, folder), alt=alt).model_dump(mode="json")
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    except ValueError as error:
        # A name that no file can have.
        raise DataError(f"{where}: field 'picture' is no path: {error}.") from error


def _place(text: str, folder: Path | None) -> Path:
    if "://" in text:
        raise DataError(f"The picture {text[:80]} is an address: fetch it, and give the path of the file.")
    if is_reference(text):
        return referenced_file(text)
    path = Path(os.path.expanduser(text))
    if path.is_absolute():
        return given_path(text, error=DataError)
    if folder is None:
        raise DataError(f"The picture {text[:80]} is relative to no file here: give its absolute path.")
    inside = (folder / path).resolve()
    if not inside.is_relative_to(folder.resolve()):
        raise DataError(
            f"The picture {text[:80]} leads out of the folder of its prompt file: put it there, or give its absolute "
            "path."
        )
    return given_path(str(inside), error=DataError)
