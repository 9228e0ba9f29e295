"""A prompt set answered by several models: what was asked, and an answer a line. Knows nothing of models.

FOLDER/request.json   written once by whoever asks    answers.jsonl   appended by the worker
       job            the job that answers                marks/          what a person says of answers

Kept where a chat about the same models would be, in the folder answer_sets/ beside chats/.
"""

import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.records.chats.answer_calls import AnswerCalls
from engine.records.chats.asked import MOST_COLUMNS, CallStart, Column, Sampling
from engine.records.chats.homes import folders_of, home_of
from engine.records.conversation import Label
from engine.records.errors import RunError
from engine.records.files import append_line, read_lines, read_number, write_whole
from engine.records.settings import Settings
from engine.records.spec_parts import ModelSpec
from engine.records.versions import FORMAT, FormatVersion

# The word of a prompt that no model could be asked; the reason says why.
NOT_ASKED = "not asked"
# A cosine below says that the breaker has tripped.
TRIP_THRESHOLD = 0.5


class SetRequest(BaseModel):
    """Answer the first `limit` prompts of a source (0: all), each by every column.

    forced: each answer begins with the call that the prompt's row expects, so far; a row without one is asked directly.
    trips: where the breaker trips is measured along each circuit-broken answer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: ModelSpec
    columns: tuple[Column, ...] = Field(min_length=1, max_length=MOST_COLUMNS)
    source: str
    label: Label
    limit: int = Field(0, ge=0)
    system: str = ""
    prefill: str = ""
    forced: Literal[""] | CallStart = Field("", exclude_if=lambda forced: not forced)
    trips: bool = Field(False, exclude_if=lambda trips: not trips)
    sampling: Sampling = Sampling()
    created: float = Field(default_factory=time.time)
    version: FormatVersion = FORMAT


class SetRow(BaseModel):
    """One prompt with its answers and verdicts, in the order of the request's columns.

    source: whose prompt it is, or where it was read; empty in older rows.
    calls: where tools were offered, each answer as a message.  forced: the words that began every answer, where its
    call was forced.  trips: for each column the token, from 1, of what it said at which the cosine falls below
    TRIP_THRESHOLD first, at its run's first target block; 0: never, None: not measured.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    prompt_id: str
    prompt: str
    label: Label
    category: str = ""
    style: str = ""
    source: str = Field("", exclude_if=lambda source: not source)
    answers: tuple[str, ...]
    words: tuple[str, ...]
    reasons: tuple[str, ...]
    calls: tuple[AnswerCalls, ...] = Field((), exclude_if=lambda calls: not calls)
    forced: str = Field("", exclude_if=lambda forced: not forced)
    trips: tuple[int | None, ...] = Field((), exclude_if=lambda trips: not trips)


@dataclass(frozen=True)
class AnswerSet:
    """One folder. Reading never changes it."""

    folder: Path

    @property
    def id(self) -> str:
        return self.folder.name

    def request(self) -> SetRequest:
        """Raises RunError when it is missing or damaged."""
        try:
            return SetRequest.model_validate_json((self.folder / "request.json").read_bytes())
        except (OSError, ValidationError) as error:
            raise RunError(f"The answers in {self.folder} cannot be read: delete the folder.") from error

    def set_job(self, job_id: int) -> None:
        """Remember which job answers, so that the set can be followed from its link alone."""
        write_whole(self.folder / "job", str(job_id))

    def job(self) -> int | None:
        return read_number(self.folder / "job")

    def append(self, row: SetRow) -> None:
        append_line(self.folder / "answers.jsonl", row.model_dump_json())

    def rows(self) -> list[SetRow]:
        return read_lines(self.folder / "answers.jsonl", SetRow.model_validate_json)


def new_set(settings: Settings, request: SetRequest) -> AnswerSet:
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
    made = AnswerSet(home_of(settings, (column.checkpoint for column in request.columns)) / "answer_sets" / name)
    write_whole(made.folder / "request.json", request.model_dump_json(indent=2))
    return made


def open_set(settings: Settings, set_id: str) -> AnswerSet:
    """Raises RunError when there is none."""
    for folder in folders_of(settings, "answer_sets"):
        if set_id and folder.name == set_id:
            return AnswerSet(folder)
    raise RunError(f"There are no answers '{set_id}' in {settings.runs}: they were deleted, or their run was.")


def list_sets(settings: Settings) -> list[AnswerSet]:
    """All answered sets, newest first."""
    return [AnswerSet(folder) for folder in folders_of(settings, "answer_sets")]
