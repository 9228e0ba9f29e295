"""Answers side by side: one exchange of a chat, token by token, then its trip and its verdicts."""

import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from typing import Any

from engine.compute.evaluation.attacks.attempt import Attempt
from engine.compute.evaluation.judges import Verdict, judge_answers
from engine.compute.evaluation.probed import ended
from engine.compute.geometry.trip import trip
from engine.compute.model.generation import Ask, answer
from engine.compute.model.harmfulness import Probe
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.memory import failure_words
from engine.compute.model.mixed import Voice
from engine.compute.model.text import Speaker, need_askable, tokens_of
from engine.compute.steps import told
from engine.compute.team import present
from engine.device import Tools
from engine.jobs.calls import called, forced_words, judge_with_tools
from engine.jobs.harmfulness import probe_of
from engine.jobs.known_answers import known_spaces, run_spaces
from engine.jobs.live_trips import Followed, LiveTrips, beside
from engine.jobs.picture_trips import picture_trips, rounded
from engine.jobs.voices import voices_of
from engine.records.blocks import parse_blocks
from engine.records.chats.asked import Column, Sampling
from engine.records.chats.chat import Chat, Exchange, open_chat
from engine.records.chats.replies import Answered, Failed, Judged, Pieces, Read, Reason, Trip
from engine.records.errors import ModelError, RunError
from engine.records.evaluation.counts import Side
from engine.records.evaluation.rows import EvaluationRow
from engine.records.events import Event, Progress
from engine.records.harmfulness import need_probes
from engine.records.runs import open_run

Job = Generator[Event | None, None, None]


def chat_job(payload: dict[str, Any], tools: Tools) -> Job:
    """Answer one exchange in all its columns, or, with `measure`, measure again what was answered."""
    chat = open_chat(tools.settings, payload["chat"])
    number = int(payload["exchange"])
    exchange = chat.exchange(number)
    try:
        model = yield from tools.acquire(exchange.model)
        with ExitStack() as stack:
            voices = yield from voices_of(stack, model, exchange.columns, tools)
            texts = _texts(model, chat, number)
            if not payload.get("measure"):
                probes = _probes(model, exchange, tools)
                chat.append(number, _read(exchange, texts))
                asks = [Ask(text.ids, voices[text.column], None, probes[text.column]) for text in texts]
                followed = _followed(model, exchange, texts, voices, tools)
                yield from _answer(model, chat, number, texts, asks, followed)
            yield from _measure(model, chat, number, texts, voices, tools)
    except Exception as error:  # Whatever it was, the chat must say that it broke off.
        chat.append(number, Failed(message=failure_words(error)))
        raise


class _Text:
    """One column's prompt and the words that begin its answer, as tokens. Raises ModelError when it cannot be asked."""

    def __init__(self, model: LoadedModel, chat: Chat, number: int, column: int) -> None:
        self.column, exchange = column, chat.exchange(number)
        self.conversation = chat.conversation(number, column)
        need_askable(model, self.conversation)
        forced = exchange.forced
        self.begun = forced_words(model, self.conversation, forced) if forced else exchange.prefill
        tokens = tokens_of(model, self.conversation, begun=self.begun, reserved=1)
        self.prompt, self.prefill, self.ids = tokens.ids, tokens.begun, tokens.whole


def _texts(model: LoadedModel, chat: Chat, number: int) -> list[_Text]:
    """The columns that are asked: in a turn of results those that made a call. Raises RunError without any."""
    columns = range(len(chat.exchange(number).columns))
    texts = [_Text(model, chat, number, index) for index in columns if chat.message(number, index) is not None]
    if not texts:
        raise RunError(
            "No model made a call that can be read, so there are no results to go on with: send a message instead."
        )
    return texts


def _read(exchange: Exchange, texts: Sequence[_Text]) -> Read:
    tokens, begun = ([0] * len(exchange.columns), [""] * len(exchange.columns))
    for text in texts:
        tokens[text.column], begun[text.column] = len(text.ids), text.begun
    return Read(tokens=tuple(tokens), begun=tuple(begun) if exchange.forced else ())


def _probes(model: LoadedModel, exchange: Exchange, tools: Tools) -> list[Probe | None]:
    """The probe that reads each column: the column's own run's, the base model's of the first run that is asked."""
    if not exchange.probe:
        return [None for _ in exchange.columns]
    asked = next((column.checkpoint for column in exchange.columns if not column.checkpoint.is_base), None)
    if asked is None:
        raise RunError("A harmfulness probe belongs to a run: choose a circuit-broken model in one of the columns.")
    probes: list[Probe | None] = []
    for column in exchange.columns:
        checkpoint = asked if column.checkpoint.is_base else column.checkpoint
        run = open_run(tools.settings.runs, checkpoint.run_id)
        found = need_probes(run, tools.settings, checkpoint.step)
        side: Side = "base" if column.checkpoint.is_base or not column.dose else "rerouted"
        probes.append(probe_of(run, found, side, exchange.probe, tools.settings, model))
    return probes


def _answer(
    model: LoadedModel,
    chat: Chat,
    number: int,
    texts: Sequence[_Text],
    asks: Sequence[Ask],
    followed: Sequence[Followed],
) -> Generator[None, None, None]:
    """Write each token down as it comes, soon behind how far it was turned, and at the end, or when stopped, what was
    said in all."""
    exchange = chat.exchange(number)
    sampling = _within_context(model, exchange, texts)
    speakers = [Speaker(model, text.ids) for text in texts]
    ids: list[list[int]] = [[] for _ in exchange.columns]
    reasons: list[Reason] = ["not asked"] * len(ids)
    for text in texts:
        reasons[text.column] = "stopped"
    started = time.monotonic()
    first = 0.0
    live = LiveTrips(model, followed, ids, lambda event: chat.append(number, event))
    steps = beside(answer(model, asks, sampling), live.measure)

    def write_answered() -> None:
        seconds = time.monotonic() - started
        said = tuple(map(tuple, ids))
        chat.append(number, Answered(ids=said, reasons=tuple(reasons), first_token_seconds=first, seconds=seconds))
        _write_calls(model, chat, number, texts)

    def write(tokens: list[int | None] | None) -> None:
        nonlocal first
        if tokens is None:
            return
        first = first or time.monotonic() - started
        said: list[tuple[str, ...]] = [()] * len(ids)
        for text, speaker, token in zip(texts, speakers, tokens, strict=True):
            if token is not None:
                ids[text.column].append(token)
                said[text.column] = (speaker.say(token),)
        chat.append(number, Pieces(columns=tuple(said)))

    try:
        endings = yield from told(steps, write)
    except GeneratorExit:
        # Stopped: what was said so far is the answer.
        write_answered()
        raise
    for text, ending in zip(texts, endings, strict=True):
        reasons[text.column] = ending
    write_answered()


def _followed(
    model: LoadedModel, exchange: Exchange, texts: Sequence[_Text], voices: Sequence[Voice], tools: Tools
) -> list[Followed]:
    """The circuit-broken columns, which are measured while they answer, each at its run's first target block. Left out
    are those whose run's spaces are not known yet, since the answer would wait for them; and all where several
    processes answer."""
    found: list[Followed] = []
    for text in texts:
        checkpoint = exchange.columns[text.column].checkpoint
        if checkpoint.is_base or present() is not None:
            continue
        run = open_run(tools.settings.runs, checkpoint.run_id)
        spaces = known_spaces(model, run, tools.settings)
        block = parse_blocks(run.spec().blocks.targets, len(model.blocks))[0]
        if spaces:
            found.append(Followed(text.column, text.prompt, text.prefill, voices[text.column], block, spaces[block]))
    return found


def _write_calls(model: LoadedModel, chat: Chat, number: int, texts: Sequence[_Text]) -> None:
    """Where tools were offered, what each column said as a message."""
    tools, answered = chat.exchange(number).tools, chat.reply(number).answered
    if not tools or answered is None:
        return
    for text in texts:
        said = answered.ids[text.column]
        chat.append(number, called(model, text.column, text.prompt, text.prefill, said, tools))


def _within_context(model: LoadedModel, exchange: Exchange, texts: Sequence[_Text]) -> Sampling:
    """No more new tokens than the longest prompt leaves room for."""
    limit = model.card.context_length
    room = limit - max(len(text.ids) for text in texts) if limit else exchange.sampling.new_tokens
    return exchange.sampling.model_copy(update={"new_tokens": min(exchange.sampling.new_tokens, room)})


def _measure(
    model: LoadedModel,
    chat: Chat,
    number: int,
    texts: Sequence[_Text],
    voices: Sequence[Voice],
    tools: Tools,
) -> Job:
    """Along each column's text, the cosine between the base model and a rerouted one; then a word on each answer."""
    exchange = chat.exchange(number)
    answered = chat.reply(number).answered
    if answered is None:
        return
    if not chat.reply(number).called:
        _write_calls(model, chat, number, texts)
    for text in texts:
        index, said = text.column, answered.ids[text.column]
        other = _against(exchange.columns, index)
        if other is None or not (text.prefill or said):
            continue
        yield Progress(phase="measuring", message="Where the breaker trips")
        run = open_run(tools.settings.runs, exchange.columns[other].checkpoint.run_id)
        spaces = yield from run_spaces(model, run, tools.settings)
        # Steered as the text was, under both models.
        read_by = voices[other]._replace(push=voices[index].push)
        try:
            cosines = yield from trip(model, [*text.ids, *said], read_by, spaces)
        except ModelError:
            # The adapter was in training and has left the memory. The answer stands, and can be measured later.
            continue
        shown = cosines[:, len(text.prompt) :]
        chat.append(
            number,
            Trip(
                column=index,
                against=exchange.columns[other],
                prefill=len(text.prefill),
                pieces=_pieces(model, text, said),
                cosines=rounded(shown),
            ),
        )
        if other == index:
            for over_picture in picture_trips(model, exchange, index, text.prompt, cosines):
                chat.append(number, over_picture)
    verdicts = yield from _verdicts(model, exchange, texts, [answered.ids[text.column] for text in texts])
    for text, verdict in zip(texts, verdicts, strict=True):
        if answered.reasons[text.column] == "probe":
            verdict = ended(verdict, len(answered.ids[text.column]))
        chat.append(number, Judged(column=text.column, **verdict._asdict()))


def _verdicts(
    model: LoadedModel, exchange: Exchange, texts: Sequence[_Text], answers: Sequence[tuple[int, ...]]
) -> Generator[None, None, list[Verdict]]:
    """A word on each answer, of columns that were asked."""
    if exchange.tools:
        rows = [EvaluationRow(text.conversation) for text in texts]
        attempts = [
            Attempt(1, tuple(text.prompt), ids, tuple(text.prefill)) for text, ids in zip(texts, answers, strict=True)
        ]
        return (yield from judge_with_tools(model, rows, attempts, new_tokens=exchange.sampling.new_tokens))
    return (
        yield from judge_answers(
            model,
            [text.prompt for text in texts],
            answers,
            prefills=[text.prefill for text in texts],
            requests=[text.conversation.text for text in texts],
        )
    )


def _against(columns: Sequence[Column], index: int) -> int | None:
    """The column whose adapter the base model is compared with along the text of column `index`."""
    if not columns[index].checkpoint.is_base:
        return index
    return next((other for other, column in enumerate(columns) if not column.checkpoint.is_base), None)


def _pieces(model: LoadedModel, text: _Text, said: Sequence[int]) -> tuple[str, ...]:
    speaker = Speaker(model, text.prompt)
    return tuple(speaker.say(token) for token in (*text.prefill, *said))
