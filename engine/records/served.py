"""What an endpoint asks of the worker, and what it is told: one folder a request, gone once it is answered. Knows
nothing of models or of the endpoint.

desk/served/ENDPOINT/ID/request.json   written once by whoever asks    events.jsonl   appended by the worker
"""

import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from engine.records.chats.asked import Column, ForcedCall, Frozen, Sampling
from engine.records.chats.replies import ChatEvent, parse_chat_event
from engine.records.conversation import Conversation
from engine.records.errors import RunError
from engine.records.files import append_line, write_whole
from engine.records.harmfulness import ProbeChoice
from engine.records.settings import Settings
from engine.records.spec_parts import ModelSpec
from engine.records.versions import FORMAT, FormatVersion


class ServedRequest(Frozen):
    """One conversation for one model. probe_run: whose harmfulness probe ends the answer where it fires, if `probe` is
    one; the base model has none of its own."""

    model: ModelSpec
    column: Column
    conversation: Conversation
    forced: ForcedCall | None = None
    probe: ProbeChoice = ""
    probe_run: str = ""
    sampling: Sampling = Sampling()
    version: FormatVersion = FORMAT


class Told(NamedTuple):
    """Events in their order, and up to which byte they were read."""

    events: list[ChatEvent]
    end: int


@dataclass(frozen=True)
class Served:
    folder: Path

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def place(self) -> str:
        """Which one it is among those of all endpoints."""
        return f"{self.folder.parent.name}/{self.id}"

    def request(self) -> ServedRequest:
        """Raises RunError when it is gone, as it is once nobody waits for the answer."""
        try:
            return ServedRequest.model_validate_json((self.folder / "request.json").read_bytes())
        except (OSError, ValidationError) as error:
            raise RunError(f"The request {self.id} cannot be read: nobody waits for its answer any more.") from error

    def append(self, event: ChatEvent) -> None:
        append_line(self._file, event.model_dump_json())

    def told(self, start: int) -> Told:
        """The events from this byte on; a torn last line is left for later."""
        try:
            with self._file.open("rb") as file:
                file.seek(start)
                lines = file.read()
        except OSError:
            return Told([], start)
        whole = lines[: lines.rfind(b"\n") + 1]
        return Told([parse_chat_event.validate_json(line) for line in whole.splitlines()], start + len(whole))

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _file(self) -> Path:
        return self.folder / "events.jsonl"


def new_served(settings: Settings, request: ServedRequest, *, endpoint: str) -> Served:
    """endpoint: the name of whoever asks. Raises RunError when it cannot be written."""
    served = Served(requests_folder(settings) / endpoint / secrets.token_hex(12))
    write_whole(served.folder / "request.json", request.model_dump_json())
    return served


def open_served(settings: Settings, place: str) -> Served:
    return Served(requests_folder(settings) / place)


def requests_folder(settings: Settings) -> Path:
    """Of all endpoints."""
    return settings.desk / "served"
