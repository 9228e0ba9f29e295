"""What a person says of answers to a set: a thumb an answer, a note a row. Kept beside the answers, a file a row, so
that two tabs that mark different rows, or one row in different places, lose nothing. Knows nothing of judges."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout
from pydantic import Field, ValidationError

from engine.records.chats.asked import MOST_COLUMNS, Frozen
from engine.records.chats.sets import AnswerSet
from engine.records.errors import RunError
from engine.records.files import write_whole
from engine.records.versions import FORMAT, FormatVersion

# Up: the answer does what was asked, whether that was good or not. Down: it refuses, or says nothing of use.
Thumb = Literal["up", "down"]
LABELS: Mapping[Thumb | None, str] = {"up": "complied", "down": "not complied", None: ""}
MOST_NOTE_LETTERS = 4_000
LOCK_SECONDS = 10


class Mark(Frozen):
    """Of one row. thumbs: one a column, None where nothing was said."""

    prompt_id: str
    thumbs: tuple[Thumb | None, ...] = Field(max_length=MOST_COLUMNS)
    note: str = Field("", max_length=MOST_NOTE_LETTERS)
    version: FormatVersion = FORMAT

    @property
    def is_empty(self) -> bool:
        return not self.note and not any(self.thumbs)


def set_thumb(answers: AnswerSet, prompt_id: str, column: int, thumb: Thumb | None) -> None:
    """Say it of one answer; None takes it back. Raises RunError when it cannot be written."""

    def change(mark: Mark) -> Mark:
        thumbs = [*mark.thumbs]
        thumbs[column] = thumb
        return mark.model_copy(update={"thumbs": tuple(thumbs)})

    _change(answers, prompt_id, change)


def set_note(answers: AnswerSet, prompt_id: str, note: str) -> None:
    """Write a note on a row in place of the one before. Raises RunError when it is too long or cannot be written."""
    if len(note) > MOST_NOTE_LETTERS:
        raise RunError(f"The note has {len(note):,} letters: shorten it to {MOST_NOTE_LETTERS:,}.")
    _change(answers, prompt_id, lambda mark: mark.model_copy(update={"note": note}))


def read_marks(answers: AnswerSet) -> dict[str, Mark]:
    """The marks of a set by prompt; a file that cannot be read is passed over, and replaced by the next mark."""
    found = (_read(file) for file in sorted(_folder(answers).glob("*.json")))
    return {mark.prompt_id: mark for mark in found if mark is not None and not mark.is_empty}


def mark_lines(answers: AnswerSet, names: Sequence[str]) -> list[dict[str, object]]:
    """A line for each answer that has a thumb or stands in a row with a note: what a table or a file of labels holds.

    names: of the columns. label: what the person says, complied or not complied; verdict: what the judge says.
    """
    marks = read_marks(answers)
    return [
        {
            "set": answers.id,
            "id": row.prompt_id,
            "side": row.label,
            "category": row.category,
            "style": row.style,
            "source": row.source,
            "model": name,
            "label": LABELS[mark.thumbs[column]],
            "verdict": row.words[column],
            "note": mark.note,
        }
        for row in answers.rows()
        if (mark := marks.get(row.prompt_id)) is not None
        for column, name in enumerate(names)
        if mark.note or mark.thumbs[column]
    ]


def _change(answers: AnswerSet, prompt_id: str, change: Callable[[Mark], Mark]) -> None:
    folder = _folder(answers)
    file = folder / f"{hashlib.sha256(prompt_id.encode()).hexdigest()[:24]}.json"
    columns = len(answers.request().columns)
    try:
        folder.mkdir(exist_ok=True)
        # Read and written as one step: another tab may mark another answer of the row meanwhile.
        with FileLock(folder / ".lock", timeout=LOCK_SECONDS):
            known = _read(file)
            mark = known if known and len(known.thumbs) == columns else _empty(prompt_id, columns)
            write_whole(file, change(mark).model_dump_json(indent=2))
    except Timeout as error:
        raise RunError(f"The marks in {folder} are being written elsewhere: try again.") from error
    except OSError as error:
        raise RunError(f"The marks in {folder} cannot be written: {error.strerror}.") from error


def _empty(prompt_id: str, columns: int) -> Mark:
    return Mark(prompt_id=prompt_id, thumbs=(None,) * columns)


def _read(file: Path) -> Mark | None:
    try:
        return Mark.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None


def _folder(answers: AnswerSet) -> Path:
    return answers.folder / "marks"
