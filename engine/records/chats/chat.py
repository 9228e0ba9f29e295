"""Chats side by side: what was asked, of which models, and what each answered. Knows nothing of models.

CHAT/exchange-NNNN.json   written once by whoever asks    exchange-NNNN.jsonl   appended by the worker
     job-NNNN             the job that answers

A chat about a run is kept with the run, in runs/RUN/chats/CHAT; others, and those about runs that ship with the
workbench, in the desk's folder chats/CHAT. The conversation is, for each turn, the last exchange that answers it:
asking a turn again (at another dose, say) adds an exchange and loses none.
"""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from engine.records.chats.homes import folders_of, home_of
from engine.records.checkpoints import CheckpointText
from engine.records.conversation import Conversation, Message, Part, Result, Text, Tool, say
from engine.records.errors import RunError
from engine.records.files import append_line, write_new, write_whole
from engine.records.settings import Settings
from engine.records.spec_parts import ModelSpec
from engine.records.versions import FORMAT, FormatVersion

MOST_COLUMNS = 4
MOST_DOSE = 1.5


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Sampling(_Frozen):
    """How tokens are chosen. temperature 0 takes the likeliest; the same seed gives every column the same draws."""

    temperature: float = Field(0.0, ge=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)
    new_tokens: int = Field(96, ge=1, le=4096)
    seed: int = Field(0, ge=0, lt=2**31)


class Column(_Frozen):
    """One model that is asked. dose: how much of its adapter, 1 as trained, 0 none."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    checkpoint: CheckpointText = Field(alias="state")
    dose: float = Field(1.0, ge=0, le=MOST_DOSE)


class Exchange(_Frozen):
    """One message to all columns. turn: which message of the conversation this is, from 0.

    alone: the models read this message and nothing of the turns above it. Later turns that go on read back to here.
    parts: what the message holds besides the text of `user`: pictures, or results of calls.  tools: what the models may
    call.
    """

    turn: int = Field(0, ge=0)
    model: ModelSpec
    columns: tuple[Column, ...] = Field(min_length=1, max_length=MOST_COLUMNS)
    system: str = ""
    user: str
    parts: tuple[Part, ...] = Field((), exclude_if=lambda parts: not parts)
    tools: tuple[Tool, ...] = Field((), exclude_if=lambda tools: not tools)
    prefill: str = ""
    alone: bool = Field(False, exclude_if=lambda alone: not alone)
    harmful: bool = False
    prompt_id: str = ""
    sampling: Sampling = Sampling()
    created: float = Field(default_factory=time.time)
    version: FormatVersion = FORMAT

    @property
    def message(self) -> Message:
        """What is said here: a tool's message where it holds a call's result, else the user's."""
        if not self.parts:
            return say("user", self.user)
        role: Literal["tool", "user"] = "tool" if any(isinstance(part, Result) for part in self.parts) else "user"
        return Message(role=role, parts=(*([Text(text=self.user)] if self.user else []), *self.parts))


class Read(_Frozen):
    """How many tokens each column reads before it answers: conversation, message, and the prefill."""

    kind: Literal["read"] = "read"
    tokens: tuple[int, ...]


class Pieces(_Frozen):
    """What each column has said since the last event, a text a token. A token may be an incomplete character: ''."""

    kind: Literal["pieces"] = "pieces"
    columns: tuple[tuple[str, ...], ...]


class Answered(_Frozen):
    """All columns have ended. ids: each answer's tokens, without the prefill. reasons: end, length, or stopped."""

    kind: Literal["answered"] = "answered"
    ids: tuple[tuple[int, ...], ...]
    reasons: tuple[Literal["end", "length", "stopped"], ...]
    first_token_seconds: float
    seconds: float
    time: float = Field(default_factory=time.time)


class Trip(_Frozen):
    """Cosine between base and rerouted activations along one column's text, per block and token (prefill and answer).

    against: the column that the base model is compared with.  pieces: the text of each token.
    prefill: as many tokens at the front were put in the model's mouth.
    """

    kind: Literal["trip"] = "trip"
    column: int
    against: Column
    prefill: int
    pieces: tuple[str, ...]
    cosines: tuple[tuple[float, ...], ...]


class Judged(_Frozen):
    """What became of one column's request: complied, refused, or incoherent."""

    kind: Literal["judged"] = "judged"
    column: int
    word: str
    reason: str
    nats_per_token: float | None = None


class Failed(_Frozen):
    """The worker could not answer, and why."""

    kind: Literal["failed"] = "failed"
    message: str


ChatEvent = Annotated[Read | Pieces | Answered | Trip | Judged | Failed, Field(discriminator="kind")]
_parse: TypeAdapter[ChatEvent] = TypeAdapter(ChatEvent)


@dataclass(frozen=True)
class Reply:
    """What is known of one exchange so far."""

    answers: tuple[tuple[str, ...], ...]
    answered: Answered | None = None
    trips: tuple[Trip, ...] = ()
    verdicts: tuple[Judged, ...] = ()
    error: str = ""
    read: tuple[int, ...] = ()

    def text(self, column: int) -> str:
        return "".join(self.answers[column])


@dataclass(frozen=True)
class Chat:
    """One chat folder. Reading never changes it."""

    folder: Path

    @property
    def id(self) -> str:
        return self.folder.name

    def numbers(self) -> list[int]:
        """The exchanges there are, in the order they were asked."""
        return sorted(int(path.stem.removeprefix("exchange-")) for path in self.folder.glob("exchange-*.json"))

    def exchange(self, number: int) -> Exchange:
        """Raises RunError when it is missing or damaged."""
        path = self.folder / f"exchange-{number:04d}.json"
        try:
            return Exchange.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise RunError(f"The transcript {path} cannot be read: delete its folder, or restore the file.") from error

    def ask(self, exchange: Exchange, *, seen: int | None = None) -> int:
        """Write down what is asked and return its number.

        seen: the last exchange that whoever asks knew of (-1: none). What was asked since, in another tab, keeps its
        turn, and this message takes the next one. None: the exchange's own turn holds, as in asking a message again.
        """
        number = max(self.numbers(), default=-1) + 1
        while True:
            meanwhile = [self.exchange(other).turn for other in range(seen + 1, number)] if seen is not None else []
            turn = max([exchange.turn, *(other + 1 for other in meanwhile)])
            content = exchange.model_copy(update={"turn": turn}).model_dump_json(indent=2)
            if write_new(self.folder / f"exchange-{number:04d}.json", content):
                return number
            number += 1

    def set_job(self, number: int, job_id: int) -> None:
        """Remember which job answers, so that the chat can be followed from its link alone."""
        write_whole(self.folder / f"job-{number:04d}", str(job_id))

    def job(self, number: int) -> int | None:
        try:
            return int((self.folder / f"job-{number:04d}").read_text())
        except (OSError, ValueError):
            return None

    def append(self, number: int, event: ChatEvent) -> None:
        append_line(self._events_file(number), event.model_dump_json())

    def reply(self, number: int) -> Reply:
        """What the worker has written so far; a torn last line is left for later, a damaged one is skipped."""
        columns = len(self.exchange(number).columns)
        answers: list[list[str]] = [[] for _ in range(columns)]
        answered, error = None, ""
        read: tuple[int, ...] = ()
        trips: dict[int, Trip] = {}
        verdicts: dict[int, Judged] = {}
        try:
            lines = self._events_file(number).read_bytes()
        except OSError:
            lines = b""
        for line in lines[: lines.rfind(b"\n") + 1].splitlines():
            try:
                event = _parse.validate_json(line)
            except ValidationError:
                continue
            if isinstance(event, Pieces):
                for answer, pieces in zip(answers, event.columns, strict=False):
                    answer += pieces
            elif isinstance(event, Read):
                read = event.tokens
            elif isinstance(event, Answered):
                answered, error = event, ""
            elif isinstance(event, Trip):
                trips[event.column] = event
            elif isinstance(event, Judged):
                # The last thing of a measurement: an earlier one that failed is made good.
                verdicts[event.column], error = event, ""
            else:
                error = event.message
        measured = tuple(trips.values()), tuple(verdicts.values())
        return Reply(tuple(map(tuple, answers)), answered, *measured, error, read)

    def thread(self, *, before: int | None = None) -> list[int]:
        """The exchanges that make up the conversation, one a turn, of those asked before exchange `before`."""
        kept: list[int] = []
        for number in self.numbers():
            if before is not None and number >= before:
                break
            turn = self.exchange(number).turn
            kept = [*kept[:turn], number]
        return kept

    def turns_read(self, number: int) -> list[int]:
        """The exchanges whose messages and answers are read before the message of exchange `number`."""
        asked = self.exchange(number)
        return [] if asked.alone else self.since_alone(self.thread(before=number)[: asked.turn])

    def since_alone(self, numbers: Sequence[int]) -> list[int]:
        """Of exchanges in their order those from the last one on that was asked on its own."""
        alone = [place for place, number in enumerate(numbers) if self.exchange(number).alone]
        return list(numbers[alone[-1] if alone else 0 :])

    def conversation(self, number: int, column: int) -> Conversation:
        """What this column is to continue in exchange `number`: the conversation so far as it ran in this column."""
        asked = self.exchange(number)
        messages = [say("system", asked.system)] if asked.system.strip() else []
        for earlier in self.turns_read(number):
            exchange, reply = self.exchange(earlier), self.reply(earlier)
            said = exchange.prefill + reply.text(min(column, len(reply.answers) - 1))
            messages += [exchange.message, say("assistant", said)]
        return Conversation(messages=(*messages, asked.message), tools=asked.tools)

    def _events_file(self, number: int) -> Path:
        return self.folder / f"exchange-{number:04d}.jsonl"


def new_chat(settings: Settings, columns: Sequence[Column]) -> Chat:
    """A chat that is kept with the first run it asks, as soon as something is asked in it."""
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
    return Chat(home_of(settings, (column.checkpoint for column in columns)) / "chats" / name)


def open_chat(settings: Settings, chat_id: str) -> Chat:
    """Raises RunError when there is none."""
    for folder in folders_of(settings, "chats"):
        if chat_id and folder.name == chat_id:
            return Chat(folder)
    raise RunError(f"There is no transcript '{chat_id}' in {settings.runs}: it was deleted, or its run was.")


def list_chats(settings: Settings) -> list[Chat]:
    """All chats, newest first."""
    return [Chat(folder) for folder in folders_of(settings, "chats")]
