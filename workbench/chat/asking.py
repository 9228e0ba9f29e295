"""Give a message to the worker, ask it again, measure it, stop it: by the records and the queue. Draws nothing."""

import time

import streamlit as st

from engine.desk.launch import ensure_worker
from engine.desk.queue import Job
from engine.records.chats.asked import Column
from engine.records.chats.chat import Chat, Exchange, new_chat, open_chat
from engine.records.errors import RunError, WorkbenchError
from workbench.chat.columns import dose_key, has_probe, model_of
from workbench.chat.composer import PROBE
from workbench.chat.steering import steering_of
from workbench.kit.frame import catching
from workbench.kit.state import CHAT, arrived, queue, settings

# The chat whose models the pickers show, and what they show now.
OPENED = "chat_opened"
# The chat and the last of its exchanges as this page shows them.
DRAWN = "chat_drawn"
CHOSEN = "chat_chosen"
# The chat and the exchange that this session asked last.
SENT = "chat_sent"
# Between the two presses of one who pressed twice.
TWICE_SECONDS = 5.0
# What an exchange says of itself that depends on what stands above it and on when it was asked, or that is forgotten
# when its message was sent.
LATER = ("turn", "alone", "parts", "harmful", "prompt_id", "created")


def submit(chat: Chat, exchange: Exchange, *, seen: int | None = None) -> None:
    """Write an exchange down, have it answered, and look at its chat. seen: as in Chat.ask."""
    number = chat.ask(exchange, seen=seen)
    run_id = next((c.checkpoint.run_id for c in exchange.columns if not c.checkpoint.is_base), "")
    job = queue().submit("chat", run_id=run_id, payload={"chat": chat.id, "exchange": number})
    chat.set_job(number, job)
    ensure_worker(settings())
    st.query_params[CHAT] = chat.id
    st.session_state[OPENED] = chat.id
    # Known from here on: the next change may come before it is drawn.
    st.session_state[DRAWN] = st.session_state[SENT] = (chat.id, number)


def continued(columns: tuple[Column, ...]) -> tuple[Chat, int, int]:
    """The open chat, its next turn and last exchange, or a new chat: there is none, or other models are chosen. Raises
    RunError while the open one is being answered: what was said of its turn so far is no answer yet."""
    chat = open_now()
    if chat is not None:
        numbers = chat.thread()
        last = chat.exchange(numbers[-1]) if numbers else None
        if numbers and is_answered_now(chat, numbers[-1]):
            raise RunError(
                "This conversation is being answered, in another tab perhaps: wait, or stop it, and ask then."
            )
        if last and are_asked(columns, last):
            failed = chat.reply(numbers[-1]).answered is None
            return chat, last.turn + (0 if failed else 1), max(chat.numbers())
    return new_chat(settings(), columns), 0, -1


def is_sent_already(exchange: Exchange) -> bool:
    """Whether this is what this session sent a moment ago, and is being answered: a button that is pressed twice sends
    once. The chat of it is then looked at, whose name the browser may not know yet."""
    name, number = st.session_state.get(SENT, ("", 0))
    try:
        chat = open_chat(settings(), name) if name else None
        sent = chat.exchange(number) if chat is not None else None
    except WorkbenchError:
        return False
    if chat is None or sent is None or exchange.created - sent.created > TWICE_SECONDS:
        return False
    if exchange.model_copy(update={name: getattr(sent, name) for name in LATER}) != sent:
        return False
    if not is_answered_now(chat, number):
        return False
    st.query_params[CHAT] = chat.id
    return True


def job_of(chat: Chat, number: int) -> Job | None:
    """The job that answers an exchange, or did; None where the queue knows none of it."""
    job_id = chat.job(number)
    return queue().job(job_id, of={"chat": chat.id, "exchange": number}) if job_id is not None else None


def is_answered_now(chat: Chat, number: int) -> bool:
    job = job_of(chat, number)
    return job is not None and job.status in ("queued", "running")


def open_now() -> Chat | None:
    """The chat of the link. Raises RunError where it is gone."""
    name = st.query_params.get(CHAT)
    return open_chat(settings(), name) if name else None


@catching
def ask_again() -> None:
    """Ask the last message again, with the probe as it is now, and with doses and steering where the pickers show the
    models of the chat."""
    chat = open_now()
    if chat is None:
        return
    last = chat.thread()[-1]
    if st.session_state.get(DRAWN) != (chat.id, last):
        # Another tab has gone on meanwhile: its message is not this one's to stop.
        return
    exchange = chat.exchange(last)
    columns = strengths_now(exchange.columns) if _are_chosen(exchange) else exchange.columns
    if (job := job_of(chat, last)) is not None:
        queue().cancel(job.id)
    probe = exchange.probe
    if not exchange.tools:
        # Tools has no choice of a probe: what stands there is another page's.
        probe = st.session_state.get(PROBE, "") if has_probe(columns) else ""
    submit(chat, exchange.model_copy(update={"columns": columns, "probe": probe, "created": time.time()}))


@catching
def dose_changed() -> None:
    """Ask again at once, unless the dose or the steering is of models that the open chat does not ask."""
    chat = open_now()
    numbers = chat.thread() if chat else []
    if chat and numbers and _are_chosen(chat.exchange(numbers[-1])):
        ask_again()


def is_come_to(chat: Chat, key: str) -> bool:
    """Whether a chat was not shown before, or the page is come to again; remembered under this key."""
    is_new = arrived() or st.session_state.get(key) != chat.id
    st.session_state[key] = chat.id
    return is_new


def are_asked(columns: tuple[Column, ...], exchange: Exchange) -> bool:
    """Whether an exchange was asked of these models. Raises RunError where the columns share no base model."""
    return models(columns) == models(exchange.columns) and model_of(columns).name == exchange.model.name


def _are_chosen(exchange: Exchange) -> bool:
    """Whether the pickers show its models."""
    return are_asked(st.session_state.get(CHOSEN, ()), exchange)


def strengths_now(columns: tuple[Column, ...]) -> tuple[Column, ...]:
    """The columns of an exchange at the strengths that the pickers show."""
    now = []
    for index, column in enumerate(columns):
        dose = column.dose if column.checkpoint.is_base else st.session_state.get(dose_key(index), column.dose)
        now.append(column.model_copy(update={"dose": dose, "steering": steering_of(index)}))
    return tuple(now)


@catching
def measure(chat: Chat, number: int) -> None:
    """Measure and judge an answer that was stopped before."""
    payload = {"chat": chat.id, "exchange": number, "measure": True}
    chat.set_job(number, queue().submit("chat", payload=payload))
    ensure_worker(settings())


@catching
def stop(job_id: int) -> None:
    queue().cancel(job_id)


def forget() -> None:
    """Look at no chat any more."""
    st.query_params.pop(CHAT, None)
    st.session_state.pop(OPENED, None)


def models(columns: tuple[Column, ...]) -> list[str]:
    return [str(column.checkpoint) for column in columns]
