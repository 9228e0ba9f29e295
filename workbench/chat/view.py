"""Side by side: models, conversation, message box. Answers come by the record alone."""

import time

import streamlit as st

from engine.desk.launch import ensure_worker
from engine.records.chats.asked import Column
from engine.records.chats.chat import Chat, Exchange, new_chat, open_chat
from engine.records.errors import WorkbenchError
from workbench.chat.columns import column_pickers, columns_buttons, has_probe, model_of, show_columns
from workbench.chat.composer import CONTINUE, PROBE, PROBLEM, ToBeRead, clear_message, composer, put_back, written
from workbench.chat.doses import dose_chart
from workbench.chat.export import chat_json, chat_markdown
from workbench.chat.panes import exchange_view, speed, waiting_words
from workbench.chat.tint import STYLE, legend
from workbench.chat.trip import trip_settings
from workbench.kit.frame import catching
from workbench.kit.state import CHAT, queue, settings
from workbench.kit.words import plain

OPENED = "chat_opened"
CHOSEN = "chat_chosen"
RETURNED = "chat_returned"
TICK = 0.3


def chat_view() -> None:
    st.html(f"<style>{STYLE}</style>")
    chat = _open()
    columns = column_pickers(on_dose=_dose_changed)
    st.session_state[CHOSEN] = columns
    numbers = chat.thread() if chat else []
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        columns_buttons()
        dose_chart(columns)
        if chat is not None and numbers:
            _downloads(chat)
            st.button("New chat", icon=":material/add_comment:", key="chat_new", type="tertiary", on_click=_forget)
    busy = False
    if chat is not None and numbers:
        tinted = next((number for number in reversed(numbers) if chat.reply(number).trips), numbers[-1])
        block, threshold = trip_settings(chat.exchange(tinted), chat.reply(tinted))
        for number in numbers[:-1]:
            exchange_view(chat, number, block=block, threshold=threshold, live=False)
        busy = _last(chat, numbers[-1], block, threshold)
        if block is not None:
            st.html(legend(threshold))
        if _models(columns) != _models(chat.exchange(numbers[-1]).columns):
            st.caption(":material/info: Other models are chosen now: the next message begins a new chat.")
    composer(send=_send, busy=busy, read=_to_be_read(chat, numbers, columns), has_probe=has_probe(columns))


def _to_be_read(chat: Chat | None, numbers: list[int], columns: tuple[Column, ...]) -> ToBeRead:
    """What the next message is read with."""
    if chat is None or not numbers or _models(columns) != _models(chat.exchange(numbers[-1]).columns):
        return ToBeRead(len(columns))
    # A turn that nobody answered is taken by the next message.
    answered = numbers if chat.reply(numbers[-1]).answered else numbers[:-1]
    turns = chat.since_alone(answered)
    reply = chat.reply(answered[-1]) if answered else None
    lengths = zip(reply.read, reply.answered.ids, strict=False) if reply and reply.answered else ()
    return ToBeRead(len(columns), len(turns), max((read + len(ids) for read, ids in lengths), default=0))


def _open() -> Chat | None:
    """The chat of the link; its models are shown in the pickers once."""
    name = st.query_params.get(CHAT)
    if not name:
        return None
    chat = open_chat(settings(), name)
    numbers = chat.thread()
    if st.session_state.get(OPENED) != name and numbers:
        st.session_state[OPENED] = name
        last = chat.exchange(numbers[-1])
        show_columns(last.columns, last.model)
    return chat


def _last(chat: Chat, number: int, block: int | None, threshold: float) -> bool:
    """Draw the newest exchange, following it while it is answered. Returns whether it still is."""
    job_id = chat.job(number)
    job = queue().job(job_id) if job_id is not None else None
    if job is not None and job.status in ("queued", "running"):
        st.fragment(_follow, run_every=TICK)(chat, number, job.id, block, threshold)
        return True
    reply = exchange_view(chat, number, block=block, threshold=threshold, live=False, newest=True)
    if reply.error or reply.answered is None:
        if not reply.error:
            st.warning(
                plain((job.error if job else "") or "The worker ended before it had answered: ask again."),
                icon=":material/power_off:",
            )
        if st.session_state.get(RETURNED) != (chat.id, number):
            st.session_state[RETURNED] = (chat.id, number)
            put_back(chat.exchange(number).user)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Ask again", icon=":material/replay:", key="chat_again", type="tertiary", on_click=_ask_again)
        unmeasured = not reply.verdicts or (not reply.trips and not _base_only(chat.exchange(number)))
        if reply.answered is not None and unmeasured:
            st.button(
                "Measure it",
                icon=":material/straighten:",
                key="chat_measure",
                type="tertiary",
                on_click=_measure,
                args=(chat, number),
                help="The answer was stopped before it was judged and its tokens were measured.",
            )
        st.caption(speed(reply), width="content")
    return False


@catching
def _follow(chat: Chat, number: int, job_id: int, block: int | None, threshold: float) -> None:
    """Both panes from the record, a few times a second; the page is drawn anew when the job has ended."""
    job = queue().job(job_id)
    if job is None or job.status not in ("queued", "running"):
        st.rerun()
    reply = exchange_view(chat, number, block=block, threshold=threshold, live=True, newest=True)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Stop", icon=":material/stop_circle:", key="chat_stop", on_click=_stop, args=(job_id,))
        if not queue().worker().alive:
            st.caption("The worker has ended: start it in the sidebar, then stop this message and ask again.")
        elif reply.answered is not None:
            st.caption("Answered. Measuring each token's cosine and judging: a few seconds.", width="content")
        elif not any(reply.answers):
            seconds = time.time() - chat.exchange(number).created
            st.caption(plain(waiting_words(job, seconds=seconds)), width="content")


@catching
def _send() -> None:
    """Write the message down and give it to the worker. What cannot be sent stays in the box."""
    try:
        columns: tuple[Column, ...] = st.session_state[CHOSEN]
        now = written(has_probe=has_probe(columns))
        if not now.user.strip():
            st.session_state[PROBLEM] = "The message is empty: write something to ask."
            return
        chat, turn, seen = _continued(columns)
        alone = turn > 0 and not st.session_state.get(CONTINUE, False)
        exchange = Exchange(turn=turn, model=model_of(columns), columns=columns, alone=alone, **now._asdict())
        _submit(chat, exchange, seen=seen)
    except WorkbenchError as error:
        st.session_state[PROBLEM] = plain(str(error))
        return
    clear_message()


@catching
def _dose_changed() -> None:
    """Ask again at once, unless the dose is of models that the open chat does not ask."""
    name = st.query_params.get(CHAT)
    chat = open_chat(settings(), name) if name else None
    numbers = chat.thread() if chat else []
    if chat and numbers and _models(chat.exchange(numbers[-1]).columns) == _models(st.session_state.get(CHOSEN, ())):
        _ask_again()


@catching
def _ask_again() -> None:
    """Ask the last message again, with the doses and the probe as they are now."""
    name = st.query_params.get(CHAT)
    if not name:
        return
    chat = open_chat(settings(), name)
    last = chat.thread()[-1]
    exchange = chat.exchange(last)
    columns = tuple(
        column
        if column.checkpoint.is_base
        else column.model_copy(update={"dose": st.session_state.get(f"chat_dose_{index}", column.dose)})
        for index, column in enumerate(exchange.columns)
    )
    job_id = chat.job(last)
    if job_id is not None:
        queue().cancel(job_id)
    probe = st.session_state.get(PROBE, "") if has_probe(columns) else ""
    _submit(chat, exchange.model_copy(update={"columns": columns, "probe": probe}))


@catching
def _measure(chat: Chat, number: int) -> None:
    payload = {"chat": chat.id, "exchange": number, "measure": True}
    chat.set_job(number, queue().submit("chat", payload=payload))


def _base_only(exchange: Exchange) -> bool:
    return all(column.checkpoint.is_base for column in exchange.columns)


@catching
def _stop(job_id: int) -> None:
    queue().cancel(job_id)


def _continued(columns: tuple[Column, ...]) -> tuple[Chat, int, int]:
    """The open chat, its next turn and last exchange, or a new chat: there is none, or other models are chosen."""
    name = st.query_params.get(CHAT)
    if name:
        chat = open_chat(settings(), name)
        numbers = chat.thread()
        last = chat.exchange(numbers[-1]) if numbers else None
        if last and _models(last.columns) == _models(columns) and last.model.name == model_of(columns).name:
            failed = chat.reply(numbers[-1]).answered is None
            return chat, last.turn + (0 if failed else 1), max(chat.numbers())
    return new_chat(settings(), columns), 0, -1


def _submit(chat: Chat, exchange: Exchange, *, seen: int | None = None) -> None:
    number = chat.ask(exchange, seen=seen)
    run_id = next((c.checkpoint.run_id for c in exchange.columns if not c.checkpoint.is_base), "")
    job = queue().submit("chat", run_id=run_id, payload={"chat": chat.id, "exchange": number})
    chat.set_job(number, job)
    ensure_worker(settings())
    st.query_params[CHAT] = chat.id
    st.session_state[OPENED] = chat.id


def _forget() -> None:
    st.query_params.pop(CHAT, None)
    st.session_state.pop(OPENED, None)


def _models(columns: tuple[Column, ...]) -> list[str]:
    return [str(column.checkpoint) for column in columns]


def _downloads(chat: Chat) -> None:
    with st.popover("Download", icon=":material/download:", type="tertiary", key="chat_download"):
        st.download_button(
            "As Markdown", chat_markdown(chat), file_name=f"chat-{chat.id}.md", mime="text/markdown",
            key="chat_markdown", on_click="ignore",
        )  # fmt: skip
        st.download_button(
            "As JSON", chat_json(chat), file_name=f"chat-{chat.id}.json", mime="application/json",
            key="chat_json", on_click="ignore",
        )  # fmt: skip
