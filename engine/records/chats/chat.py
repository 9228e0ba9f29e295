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
from itertools import pairwise
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from engine.records.chats.answer_calls import AnswerCalls
from engine.records.chats.asked import MOST_COLUMNS, Column, ForcedCall, Frozen, Sampling
from engine.records.chats.homes import folders_of, home_of
from engine.records.chats.replies import ChatEvent, Reply, parse_chat_event, reply_of
from engine.records.conversation import Conversation, Message, Part, Picture, Result, Text, Tool, say
from engine.records.errors import RunError
from engine.records.files import append_line, read_lines, read_number, write_new, write_whole
from engine.records.harmfulness import MESSAGE, ProbeChoice
from engine.records.settings import Settings
from engine.records.spec_parts import ModelSpec
from engine.records.versions import FORMAT, FormatVersion

# Turns that go on with results, one behind another: an agent that has not ended by then runs in circles.
MOST_ROUNDS = 4


class Exchange(Frozen):
    """One message to all columns. turn: which message of the conversation this is, from 0.

    alone: the models read this message and nothing of the turns above it. Later turns that go on read back to here.
    parts: what the message holds besides the text of `user`: pictures, or results of calls.  tools: what the models may
    call.  results: nothing is said here: each column reads the canned results of the calls that it made in the turn
    before, and one that made none is not asked.  forced: the call that every answer begins with.  probe: the kind of
    the run's harmfulness probe that ends each answer where it fires; '' none.
    """

    turn: int = Field(0, ge=0)
    model: ModelSpec
    columns: tuple[Column, ...] = Field(min_length=1, max_length=MOST_COLUMNS)
    system: str = ""
    user: str
    parts: tuple[Part, ...] = Field((), exclude_if=lambda parts: not parts)
    tools: tuple[Tool, ...] = Field((), exclude_if=lambda tools: not tools)
    results: bool = Field(False, exclude_if=lambda results: not results)
    prefill: str = ""
    forced: ForcedCall | None = Field(None, exclude_if=lambda forced: forced is None)
    alone: bool = Field(False, exclude_if=lambda alone: not alone)
    probe: ProbeChoice = Field("", exclude_if=lambda probe: not probe)
    harmful: bool = False
    prompt_id: str = ""
    sampling: Sampling = Sampling()
    created: float = Field(default_factory=time.time)
    version: FormatVersion = FORMAT

    @property
    def message(self) -> Message:
        """What is said here to all columns: a tool's message where it holds a call's result, else the user's, pictures
        before the words as models learned them. Of a turn of results see Chat.message."""
        if not self.parts:
            return say("user", self.user)
        role: Literal["tool", "user"] = "tool" if any(isinstance(part, Result) for part in self.parts) else "user"
        pictures = [part for part in self.parts if isinstance(part, Picture)]
        others = [part for part in self.parts if not isinstance(part, Picture)]
        return Message(role=role, parts=(*pictures, *([Text(text=self.user)] if self.user else []), *others))


@dataclass(frozen=True)
class Chat:
    """One chat folder. Reading never changes it."""

    folder: Path

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def offers_tools(self) -> bool:
        """Whether its first exchange does, told without reading it whole: there may be many chats."""
        return self._first_holds(b'\n  "tools": [')

    @property
    def shows_pictures(self) -> bool:
        """Whether its first exchange does, told in the same way."""
        return self._first_holds(b'"type": "picture"')

    def numbers(self) -> list[int]:
        """The exchanges there are, in the order they were asked."""
        names = [path.stem.removeprefix("exchange-") for path in self.folder.glob("exchange-*.json")]
        # Others are copies that people or programs made.
        return sorted(int(name) for name in names if name.isdecimal())

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
        return read_number(self.folder / f"job-{number:04d}")

    def append(self, number: int, event: ChatEvent) -> None:
        append_line(self._events_file(number), event.model_dump_json())

    def reply(self, number: int) -> Reply:
        """What the worker has written so far; a torn last line is left for later, a damaged one is skipped."""
        columns = len(self.exchange(number).columns)
        return reply_of(columns, read_lines(self._events_file(number), parse_chat_event.validate_json))

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

    def reads_harm(self, number: int) -> bool:
        """Whether an exchange or a turn that it goes on from is harmful: its answers may repeat it."""
        return any(self.exchange(one).harmful for one in (number, *self.turns_read(number)))

    def since_alone(self, numbers: Sequence[int]) -> list[int]:
        """Of exchanges in their order those from the last one on that was asked on its own."""
        alone = [place for place, number in enumerate(numbers) if self.exchange(number).alone]
        return list(numbers[alone[-1] if alone else 0 :])

    def conversation(self, number: int, column: int) -> Conversation:
        """What this column is to continue in exchange `number`: the conversation so far as it ran in this column."""
        asked = self.exchange(number)
        messages = [say("system", asked.system)] if asked.system.strip() else []
        for earlier, following in pairwise([*self.turns_read(number), number]):
            message = self.message(earlier, column)
            # A turn that had nothing for this column, or could not be asked of it, was not.
            if message is not None and self._was_asked(earlier, column):
                goes_on = following == number or self._was_asked(following, column)
                answered = goes_on and self.exchange(following).results
                messages += [message, self._said(earlier, column, answered=answered)]
        message = self.message(number, column)
        return Conversation(messages=(*messages, *([message] if message is not None else [])), tools=asked.tools)

    def _was_asked(self, number: int, column: int) -> bool:
        reply = self.reply(number)
        return reply.is_asked(min(column, len(reply.answers) - 1))

    def message(self, number: int, column: int) -> Message | None:
        """What this column is told in exchange `number`; None where these are results and it made no call that can be
        read in the turn before."""
        asked = self.exchange(number)
        if not asked.results:
            return asked.message
        before = self.turns_read(number)
        answer = self._calls(before[-1], column) if before else None
        return answer.results_message if answer is not None else None

    def rounds(self, number: int) -> int:
        """How many turns of results stand one behind another, exchange `number` the last of them."""
        thread = [*self.turns_read(number), number]
        said = [place for place, one in enumerate(thread) if not self.exchange(one).results]
        return len(thread) - 1 - (said[-1] if said else -1)

    def has_results(self, number: int) -> bool:
        """Whether any column made a call in exchange `number` whose results the conversation can go on with."""
        return any(self._calls(number, column) for column in range(len(self.exchange(number).columns)))

    def _calls(self, number: int, column: int) -> AnswerCalls | None:
        """What a column said in an exchange, where that holds a call which can be read and which was made: an answer
        that a probe ended was not."""
        reply = self.reply(number)
        own = min(column, len(reply.answers) - 1)
        called = reply.calls(own)
        made = called is not None and called.answer.calls and not reply.is_ended_by_probe(own)
        return called.answer if called is not None and made else None

    def _said(self, number: int, column: int, *, answered: bool) -> Message:
        """What a column answered. answered: by results that come next; calls without any stand as they were written."""
        calls = self._calls(number, column)
        exchange, reply = self.exchange(number), self.reply(number)
        own = min(column, len(reply.answers) - 1)
        called = reply.calls(own)
        if calls is not None:
            written = "" if answered or called is None else "".join(called.pieces)
            return say("assistant", written) if written else calls.message
        return say(
            "assistant", MESSAGE if reply.is_ended_by_probe(own) else begun(exchange, reply, own) + reply.text(own)
        )

    def _first_holds(self, written: bytes) -> bool:
        try:
            return written in (self.folder / "exchange-0000.json").read_bytes()
        except OSError:
            return False

    def _events_file(self, number: int) -> Path:
        return self.folder / f"exchange-{number:04d}.jsonl"


def begun(exchange: Exchange, reply: Reply, column: int) -> str:
    """The words that were put into a column's mouth: the prefill, or those of the call that was forced."""
    return reply.begun[column] if column < len(reply.begun) else exchange.prefill


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
