"""What the learner has done: which checks were met and by what, and every answer that was given.

<desk>/lessons/UNIT/STEP.json            written once, when the check is first met
                    STEP.answers.jsonl   a line an answer

A file a step: two tabs never write the same one, and what is met stays met. Knows nothing of what checks ask for.
"""

import shutil
import time

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.records.errors import RunError
from engine.records.files import append_line, storage_error, write_new
from engine.records.runs import open_run
from engine.records.settings import Settings
from engine.records.versions import FORMAT, FormatVersion


class Met(BaseModel):
    """A check that was met. words: by what, one sentence.  run: the run that met it, '' for none."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    words: str
    run: str = ""
    time: float = Field(default_factory=time.time)
    version: FormatVersion = FORMAT


class Given(BaseModel):
    """One answer to a question, as it was typed or chosen."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    text: str
    time: float = Field(default_factory=time.time)


def keep_met(settings: Settings, unit: str, step: str, met: Met) -> None:
    """Raises RunError when it cannot be written; what was met first stays."""
    write_new(settings.progress / unit / f"{step}.json", met.model_dump_json())


def read_met(settings: Settings, unit: str, step: str) -> Met | None:
    """None where it was not met yet, or where its record is damaged: the check is then read anew."""
    try:
        return Met.model_validate_json((settings.progress / unit / f"{step}.json").read_bytes())
    except (OSError, ValidationError, RunError):
        return None


def is_gone(settings: Settings, run: str) -> bool:
    """Whether the run that met a check is there no more. run: its id, '' where none met it."""
    if not run:
        return False
    try:
        open_run(settings.runs, run)
    except RunError:
        return True
    return False


def keep_answer(settings: Settings, unit: str, step: str, text: str) -> None:
    """Raises RunError when it cannot be written."""
    file = settings.progress / unit / f"{step}.answers.jsonl"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(file, error) from error
    append_line(file, Given(text=text).model_dump_json())


def read_answers(settings: Settings, unit: str, step: str) -> list[Given]:
    """All answers, the first one first; a damaged line is left out."""
    try:
        lines = (settings.progress / unit / f"{step}.answers.jsonl").read_bytes().splitlines()
    except OSError:
        return []
    answers = []
    for line in lines:
        try:
            answers.append(Given.model_validate_json(line))
        except ValidationError:
            continue
    return answers


def forget_unit(settings: Settings, unit: str) -> None:
    """Begin a unit again: what was done of it is gone, what was done in the workbench stays."""
    shutil.rmtree(settings.progress / unit, ignore_errors=True)
