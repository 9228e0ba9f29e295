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
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.memory import device_failed, failure_words, ran_out_of_memory
from engine.compute.model.text import Speaker
from engine.compute.steps import told
from engine.compute.team import present
from engine.device import Tools
from engine.jobs.calls import called, judge_with_tools
from engine.jobs.chat_columns import AskedColumn, ColumnText, asked_columns, read_event
from engine.jobs.known_answers import known_spaces, run_spaces
from engine.jobs.live_trips import Followed, LiveTrips, beside
from engine.jobs.picture_trips import picture_trips, rounded
from engine.records.blocks import parse_blocks
from engine.records.chats.chat import Chat, Exchange, open_chat
from engine.records.chats.replies import Answered, Failed, Judged, Pieces, Reason, Trip
from engine.records.errors import ModelError, RunError, WorkbenchError
from engine.records.evaluation.rows import EvaluationRow
from engine.records.events import Event, Progress
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
            columns, unasked = yield from asked_columns(stack, model, chat, number, tools)
            if not payload.get("measure"):
                for event in unasked:
                    chat.append(number, event)
                chat.append(number, read_event(exchange, columns))
                followed = _followed(model, exchange, columns, tools)
                yield from _answer(model, chat, number, columns, followed)
            yield from _measure(model, chat, number, columns, tools)
            if payload.get("measure") and unasked:
                raise RunError(unasked[0].message)
    except Exception as error:  # Whatever it was, the chat must say that it broke off.
        chat.append(number, Failed(message=failure_words(error)))
        raise


def _answer(
    model: LoadedModel,
    chat: Chat,
    number: int,
    columns: Sequence[AskedColumn],
    followed: Sequence[Followed],
) -> Generator[None, None, None]:
    """Write each token down as it comes, soon behind how far it was turned, and at the end, or when stopped, what was
    said in all."""
    exchange = chat.exchange(number)
    sampling, texts = exchange.sampling, [text for text, _, _ in columns]
    asks = [Ask(text.ids, voice, None, probe, _within_context(model, exchange, text)) for text, voice, probe in columns]
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
        # Stopped: what was said so far is the answer. While the message is still read that is none.
        if any(ids):
            write_answered()
        raise
    for text, ending in zip(texts, endings, strict=True):
        reasons[text.column] = ending
    write_answered()


def _followed(model: LoadedModel, exchange: Exchange, columns: Sequence[AskedColumn], tools: Tools) -> list[Followed]:
    """The circuit-broken columns, which are measured while they answer, each at its run's first target block. Left out
    are those whose run's spaces are not known yet, since the answer would wait for them; and all where several
    processes answer."""
    found: list[Followed] = []
    for text, voice, _ in columns:
        checkpoint = exchange.columns[text.column].checkpoint
        if checkpoint.is_base or present() is not None:
            continue
        run = open_run(tools.settings.runs, checkpoint.run_id)
        spaces = known_spaces(model, run, tools.settings)
        block = parse_blocks(run.spec().blocks.targets, len(model.blocks))[0]
        if spaces:
            found.append(Followed(text.column, text.prompt, text.prefill, voice, block, spaces[block]))
    return found


def _write_calls(model: LoadedModel, chat: Chat, number: int, texts: Sequence[ColumnText]) -> None:
    """Where tools were offered, what each column said as a message."""
    tools, answered = chat.exchange(number).tools, chat.reply(number).answered
    if not tools or answered is None:
        return
    for text in texts:
        said = answered.ids[text.column]
        chat.append(number, called(model, text.column, text.prompt, text.prefill, said, tools))


def _within_context(model: LoadedModel, exchange: Exchange, text: ColumnText) -> int:
    """No more new tokens than this column's text leaves room for: a long one takes nothing from the others."""
    limit, wanted = model.card.context_length, exchange.sampling.new_tokens
    return min(wanted, limit - len(text.ids)) if limit else wanted


def _measure(model: LoadedModel, chat: Chat, number: int, columns: Sequence[AskedColumn], tools: Tools) -> Job:
    """Along each column's text, the cosine between the base model and a rerouted one; then a word on each answer. What
    fails along one text is raised when the others have theirs."""
    exchange, texts = chat.exchange(number), [column.text for column in columns]
    answered = chat.reply(number).answered
    if answered is None:
        return
    if not chat.reply(number).called:
        _write_calls(model, chat, number, texts)
    failed: list[Exception] = []
    for column in columns:
        try:
            yield from _turned(model, chat, number, columns, column, tools)
        except (WorkbenchError, RuntimeError) as error:
            # Several processes fail together, or wait for each other for ever.
            if present() is not None or device_failed(error):
                raise
            # The frames of one that ran out of memory hold what the next text needs.
            failed.append(error.with_traceback(None) if ran_out_of_memory(error) else error)
    verdicts = yield from _verdicts(model, exchange, texts, [answered.ids[text.column] for text in texts])
    for text, verdict in zip(texts, verdicts, strict=True):
        if answered.reasons[text.column] == "probe":
            verdict = ended(verdict, len(answered.ids[text.column]))
        chat.append(number, Judged(column=text.column, **verdict._asdict()))
    if failed:
        raise failed[0]


def _turned(
    model: LoadedModel, chat: Chat, number: int, columns: Sequence[AskedColumn], measured: AskedColumn, tools: Tools
) -> Job:
    """How far each token of one column's text was turned, and each patch of its pictures."""
    exchange, answered = chat.exchange(number), chat.reply(number).answered
    text, index = measured.text, measured.column
    reader = _against(exchange, columns, measured)
    if answered is None or reader is None or not (text.prefill or answered.ids[index]):
        return
    yield Progress(phase="measuring", message="Where the breaker trips")
    said, other = answered.ids[index], exchange.columns[reader.column]
    run = open_run(tools.settings.runs, other.checkpoint.run_id)
    spaces = yield from run_spaces(model, run, tools.settings)
    # Steered as the text was, under both models.
    read_by = reader.voice._replace(push=measured.voice.push)
    try:
        cosines = yield from trip(model, [*text.ids, *said], read_by, spaces)
    except ModelError:
        # The adapter was in training and has left the memory. The answer stands, and can be measured later.
        return
    shown = cosines[:, len(text.prompt) :]
    chat.append(
        number,
        Trip(
            column=index,
            against=other,
            prefill=len(text.prefill),
            pieces=_pieces(model, text, said),
            cosines=rounded(shown),
        ),
    )
    if reader is measured:
        for over_picture in picture_trips(model, exchange, index, text.prompt, cosines):
            chat.append(number, over_picture)


def _verdicts(
    model: LoadedModel, exchange: Exchange, texts: Sequence[ColumnText], answers: Sequence[tuple[int, ...]]
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


def _against(exchange: Exchange, columns: Sequence[AskedColumn], measured: AskedColumn) -> AskedColumn | None:
    """The column whose adapter the base model is compared with along the text of one that was asked."""
    broken = [one for one in columns if not exchange.columns[one.column].checkpoint.is_base]
    return measured if measured in broken else next(iter(broken), None)


def _pieces(model: LoadedModel, text: ColumnText, said: Sequence[int]) -> tuple[str, ...]:
    speaker = Speaker(model, text.prompt)
    return tuple(speaker.say(token) for token in (*text.prefill, *said))
