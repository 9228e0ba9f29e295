"""The columns of a chat's exchange: what each reads, whose voice answers, and why one of them cannot be asked."""

from collections.abc import Generator, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from engine.compute.model.harmfulness import Probe
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.mixed import MixedBatch, Voice
from engine.compute.model.text import need_askable, tokens_of
from engine.device import Tools
from engine.jobs.calls import forced_words
from engine.jobs.harmfulness import probe_of
from engine.jobs.voices import voices_of
from engine.records.chats.asked import Column
from engine.records.chats.chat import Chat, Exchange
from engine.records.chats.replies import Read, Unasked
from engine.records.errors import ComputeError, DataError, ModelError, RunError
from engine.records.evaluation.counts import Side
from engine.records.events import Event
from engine.records.harmfulness import need_probes
from engine.records.runs import open_run

# What may keep one column from being asked, and no other.
UNASKED = (ComputeError, DataError, ModelError, RunError)


class ColumnText:
    """One column's prompt and the words that begin its answer, as tokens. Raises ModelError when it cannot be asked."""

    def __init__(self, model: LoadedModel, chat: Chat, number: int, column: int) -> None:
        self.column, exchange = column, chat.exchange(number)
        self.conversation = chat.conversation(number, column)
        need_askable(model, self.conversation)
        forced = exchange.forced
        self.begun = forced_words(model, self.conversation, forced) if forced else exchange.prefill
        tokens = tokens_of(model, self.conversation, begun=self.begun, reserved=1)
        self.prompt, self.prefill, self.ids = tokens.ids, tokens.begun, tokens.whole


class AskedColumn(NamedTuple):
    """A column that is asked: what it reads, the voice that answers, and the probe that reads the answer."""

    text: ColumnText
    voice: Voice
    probe: Probe | None

    @property
    def column(self) -> int:
        return self.text.column


def asked_columns(
    stack: ExitStack, model: LoadedModel, chat: Chat, number: int, tools: Tools
) -> Generator[Event, None, tuple[list[AskedColumn], list[Unasked]]]:
    """The columns that are asked, in a turn of results those that made a call, and of the others why they cannot be:
    one whose run is gone, or whose own conversation is too long, takes no other's answer. Raises what kept the first
    of them where none can be asked."""
    exchange, reply = chat.exchange(number), chat.reply(number)
    asked: list[AskedColumn] = []
    unasked: dict[int, Exception] = {}
    for index, column in enumerate(exchange.columns):
        if chat.message(number, index) is None or not reply.is_asked(index):
            continue
        try:
            text = ColumnText(model, chat, number, index)
            [voice] = yield from voices_of(stack, model, [column], tools)
            MixedBatch(model, [voice])
            asked.append(AskedColumn(text, voice, _probe(model, exchange, column, tools)))
        except UNASKED as error:
            unasked[index] = error
    if not asked:
        raise next(iter(unasked.values()), None) or RunError(
            "No model made a call that can be read, so there are no results to go on with: send a message instead."
        )
    return asked, [Unasked(column=index, message=str(error)) for index, error in unasked.items()]


def read_event(exchange: Exchange, columns: Sequence[AskedColumn]) -> Read:
    """How much each column reads; one that is not asked reads nothing."""
    tokens, begun = ([0] * len(exchange.columns), [""] * len(exchange.columns))
    for text, _, _ in columns:
        tokens[text.column], begun[text.column] = len(text.ids), text.begun
    return Read(tokens=tuple(tokens), begun=tuple(begun) if exchange.forced else ())


def _probe(model: LoadedModel, exchange: Exchange, column: Column, tools: Tools) -> Probe | None:
    """The probe that reads a column: its own run's, for the base model that of the first run that is asked."""
    if not exchange.probe:
        return None
    asked = next((one.checkpoint for one in exchange.columns if not one.checkpoint.is_base), None)
    if asked is None:
        raise RunError("A harmfulness probe belongs to a run: choose a circuit-broken model in one of the columns.")
    checkpoint = asked if column.checkpoint.is_base else column.checkpoint
    run = open_run(tools.settings.runs, checkpoint.run_id)
    found = need_probes(run, tools.settings, checkpoint.step)
    side: Side = "base" if column.checkpoint.is_base or not column.dose else "rerouted"
    return probe_of(run, found, side, exchange.probe, tools.settings, model)
