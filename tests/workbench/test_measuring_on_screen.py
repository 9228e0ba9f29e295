"""What of a chat is offered to be measured, and that a worker is there to do it."""

import pytest
from making_pages import drawn, page_of
from making_runs import write_run

from engine.desk.queue import Queue
from engine.records.chats.asked import Column
from engine.records.chats.chat import Chat, Exchange, new_chat
from engine.records.chats.replies import Answered, Judged, Pieces, Trip, Unasked
from engine.records.runs import Run
from workbench.chat.conversation import is_measured_in_part
from workbench.kit import state


@pytest.fixture
def started(monkeypatch) -> list[str]:
    """Which part of the page has called for a worker."""
    calls: list[str] = []
    for part in ("asking", "doses"):
        monkeypatch.setattr(f"workbench.chat.{part}.ensure_worker", lambda _, part=part: calls.append(part))
    return calls


@pytest.fixture
def run(settings, started) -> Run:
    state.settings.cache_clear()
    yield write_run(settings, name="mine")
    state.settings.cache_clear()


def answered(settings, run: Run, *, ids: tuple[tuple[int, ...], ...] = ((1,), (2,)), prefill: str = "") -> Chat:
    """Asked of the base model and the run, and judged; not measured yet."""
    columns = (Column(checkpoint="base"), Column(checkpoint=run.id))
    chat = new_chat(settings, columns)
    chat.ask(Exchange(model=run.spec().model, columns=columns, user="first", prefill=prefill))
    chat.append(0, Pieces(columns=(("Yes.",),) * 2))
    chat.append(0, Answered(ids=ids, reasons=("end",) * 2, first_token_seconds=1, seconds=1))
    for column in range(2):
        judge(chat, column)
    return chat


def judge(chat: Chat, column: int) -> None:
    chat.append(0, Judged(column=column, word="complied", reason=""))


def trip(chat: Chat, column: int) -> None:
    against = chat.exchange(0).columns[1]
    chat.append(0, Trip(column=column, against=against, prefill=0, pieces=("Yes.",), cosines=((0.5,),)))


def is_offered(chat: Chat) -> bool:
    return is_measured_in_part(chat.exchange(0), chat.reply(0))


def test_an_answer_is_offered_to_be_measured_until_each_of_its_columns_is(settings, run):
    chat = answered(settings, run)
    assert is_offered(chat)
    trip(chat, 0)
    assert is_offered(chat)
    trip(chat, 1)
    assert not is_offered(chat)


def test_a_breaker_that_said_nothing_or_was_not_asked_leaves_nothing_to_measure(settings, run):
    silent = answered(settings, run, ids=((1,), ()))
    trip(silent, 0)
    assert not is_offered(silent)
    # The words that begin an answer are measured too.
    begun = answered(settings, run, ids=((1,), ()), prefill="Sure")
    trip(begun, 0)
    assert is_offered(begun)
    alone = answered(settings, run, ids=((1,), ()))
    alone.append(0, Unasked(column=1, message="Its adapter is gone."))
    assert not is_offered(alone)


def test_a_verdict_that_is_missing_in_one_column_is_offered_to_be_made(settings, run):
    columns = (Column(checkpoint="base"),) * 2
    chat = new_chat(settings, columns)
    chat.ask(Exchange(model=run.spec().model, columns=columns, user="first"))
    assert not is_offered(chat)
    chat.append(0, Answered(ids=((1,), (2,)), reasons=("stopped",) * 2, first_token_seconds=1, seconds=1))
    judge(chat, 0)
    assert is_offered(chat)
    judge(chat, 1)
    assert not is_offered(chat)


def test_what_is_asked_to_be_measured_calls_for_a_worker(settings, run, started):
    page = drawn(page_of("side_by_side", chat=answered(settings, run).id, run=run.id))
    page.button(key="chat_measure").click()
    drawn(page)
    assert started == ["asking"] and Queue(settings.desk).newest("chat")[0].payload["measure"]
    page.button(key="dose_measure").click()
    page.run()
    assert started == ["asking", "doses"] and Queue(settings.desk).newest("dose_curve")
