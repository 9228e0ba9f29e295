"""Who is to be told when a run ends, fails or raises an alert: a small TOML file, one table for each. Sends nothing.

[phone]                                   # any name: what the run's log calls it
url = "https://example.org/hook"          # a JSON object is posted there
bearer_env = "HOOK_TOKEN"                 # where the environment holds a token for it, if it needs one

[bell]
command = ["notify-send", "{title}", "{text}"]   # or a command; no shell reads it
when = ["ends", "fails", "alert"]         # the default
"""

import os
import tomllib
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from engine.records.errors import NoticeError
from engine.records.events import Alert, Event, StatusEvent
from engine.records.settings import Settings

When = Literal["ends", "fails", "alert"]
# What a status says to those who wait; others are on the way.
SAID: dict[str, When] = {"finished": "ends", "stopped": "ends", "interrupted": "fails", "failed": "fails"}
EXAMPLE = '[phone], then url = "https://example.org/hook" or command = ["notify-send", "{title}", "{text}"]'


class Target(BaseModel):
    """One who is told: by a url or by a command, not by both."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: str = Field("", pattern=r"^(https?://[^\s]+)?$", description="A JSON object is posted there.")
    command: tuple[str, ...] = Field((), description="Program and arguments; {title} and {text} are filled in.")
    bearer_env: str = Field("", pattern=r"^\w*$", description="Variable of the environment that holds a token.")
    when: tuple[When, ...] = ("ends", "fails", "alert")

    @model_validator(mode="after")
    def _has_one_way(self) -> Self:
        if bool(self.url) == bool(self.command):
            raise ValueError("give it a url or a command")
        return self


class Message(BaseModel):
    """What is posted, or handed to a command as JSON on its standard input. Holds no text of a prompt or an answer."""

    model_config = ConfigDict(frozen=True)

    what: When
    run: str
    name: str
    status: str
    step: int
    title: str
    text: str
    time: float


def notices_file(settings: Settings) -> Path:
    """WORKBENCH_NOTICES, else notices.toml beside the runs folder."""
    given = os.environ.get("WORKBENCH_NOTICES")
    return Path(given).expanduser().resolve() if given else settings.runs.parent / "notices.toml"


def read_targets(settings: Settings) -> dict[str, Target]:
    """By name; none where there is no file. Raises NoticeError that never repeats a value: it may be a secret."""
    file = notices_file(settings)
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        if os.environ.get("WORKBENCH_NOTICES"):
            raise NoticeError(f"WORKBENCH_NOTICES names {file.name}, which is not there: correct it.") from error
        return {}
    except (OSError, ValueError) as error:
        raise NoticeError(f"{file.name} cannot be read as TOML: write {EXAMPLE}.") from error
    targets = {}
    for name, table in content.items():
        if not isinstance(table, dict):
            raise NoticeError(f"{file.name}: '{name}' stands outside a table: write {EXAMPLE}.")
        try:
            targets[name] = Target.model_validate(table)
        except ValidationError as error:
            problem = error.errors(include_input=False, include_url=False)[0]
            field = ".".join(map(str, problem["loc"])) or "the table"
            raise NoticeError(f"{file.name}, [{name}]: {field}: {problem['msg']}. Write {EXAMPLE}.") from error
    return targets


def message_of(event: Event, *, run_id: str, name: str) -> Message | None:
    """What an event says to those who wait; None for one that they need not hear of."""
    if isinstance(event, Alert):
        title, text = f"{name}: an alert", f"{event.message} {event.advice}"
        return _message(event, "alert", "alert", run_id, name, title, text)
    if isinstance(event, StatusEvent) and event.status in SAID:
        title, text = f"{name}: {event.status}", f"At step {event.step}. {event.message}".strip()
        return _message(event, SAID[event.status], event.status, run_id, name, title, text)
    return None


def _message(
    event: Alert | StatusEvent, what: When, status: str, run_id: str, name: str, title: str, text: str
) -> Message:
    return Message(
        what=what, run=run_id, name=name, status=status, step=event.step, title=title, text=text, time=event.time
    )
