"""A conversation as it stands: its exchanges, the last one followed while it is answered, and its downloads."""

import time
from collections.abc import Callable

import streamlit as st

from engine.records.chats.chat import Chat, Exchange, begun
from engine.records.chats.replies import Reply
from workbench.chat.asking import DRAWN, SENT, ask_again, job_of, measure, stop
from workbench.chat.export import chat_json, chat_markdown
from workbench.chat.panes import exchange_view, speed, waiting_words
from workbench.chat.tint import legend
from workbench.chat.trip import trip_settings
from workbench.kit.frame import catching
from workbench.kit.state import queue
from workbench.kit.words import plain

RETURNED = "chat_returned"
TICK = 0.3


def conversation(
    chat: Chat,
    numbers: list[int],
    *,
    put_back: Callable[[Exchange], None],
    go_on: Callable[[Chat, int], None] | None = None,
) -> bool:
    """Draw all exchanges. Returns whether the last is still being answered.

    put_back: gives a message that could not be answered back to the box, once.  go_on: draws further ways on behind
    the last answer.
    """
    tinted = next((number for number in reversed(numbers) if chat.reply(number).trips), numbers[-1])
    block, threshold = trip_settings(chat.exchange(tinted), chat.reply(tinted))
    for number in numbers[:-1]:
        exchange_view(chat, number, block=block, threshold=threshold, live=False)
    busy = _last(chat, numbers[-1], block, threshold, put_back, go_on)
    if block is not None:
        st.html(legend(threshold))
    return busy


def downloads(chat: Chat) -> None:
    """The chat as files."""
    with st.popover("Download", icon=":material/download:", type="tertiary", key="chat_download"):
        st.download_button(
            "As Markdown", lambda: chat_markdown(chat), file_name=f"chat-{chat.id}.md", mime="text/markdown",
            key="chat_markdown", on_click="ignore",
        )  # fmt: skip
        st.download_button(
            "As JSON", lambda: chat_json(chat), file_name=f"chat-{chat.id}.json", mime="application/json",
            key="chat_json", on_click="ignore",
        )  # fmt: skip


def _last(
    chat: Chat,
    number: int,
    block: int | None,
    threshold: float,
    put_back: Callable[[Exchange], None],
    go_on: Callable[[Chat, int], None] | None,
) -> bool:
    """Draw the newest exchange, following it while it is answered. Returns whether it still is."""
    job = job_of(chat, number)
    st.session_state[DRAWN] = (chat.id, number)
    if job is not None and job.status in ("queued", "running"):
        st.fragment(_follow, run_every=TICK)(chat, number, job.id, block, threshold)
        return True
    reply = exchange_view(chat, number, block=block, threshold=threshold, live=False, newest=True)
    if reply.error or reply.answered is None:
        if not reply.error and job is not None and job.status == "cancelled":
            st.info("Stopped before it began: nothing was answered.", icon=":material/stop_circle:")
        elif not reply.error:
            st.warning(
                plain((job.error if job else "") or "The worker ended before it had answered: ask again."),
                icon=":material/power_off:",
            )
        # A transcript that was opened keeps what it hides.
        sent = st.session_state.get(SENT) == (chat.id, number)
        if sent and reply.answered is None and st.session_state.get(RETURNED) != (chat.id, number):
            st.session_state[RETURNED] = (chat.id, number)
            put_back(chat.exchange(number))
    with st.container(horizontal=True, vertical_alignment="center"):
        if go_on is not None and reply.answered is not None:
            go_on(chat, number)
        st.button("Ask again", icon=":material/replay:", key="chat_again", type="tertiary", on_click=ask_again)
        if is_measured_in_part(chat.exchange(number), reply):
            st.button(
                "Measure it",
                icon=":material/straighten:",
                key="chat_measure",
                type="tertiary",
                on_click=measure,
                args=(chat, number),
                help="The answer was stopped before it was judged and its tokens were measured.",
            )
        st.caption(speed(reply), width="content")
    return False


@catching
def _follow(chat: Chat, number: int, job_id: int, block: int | None, threshold: float) -> None:
    """All panes from the record, a few times a second; the page is drawn anew when the job has ended."""
    job = queue().job(job_id)
    if job is None or job.status not in ("queued", "running"):
        st.rerun()
    reply = exchange_view(chat, number, block=block, threshold=threshold, live=True, newest=True)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Stop", icon=":material/stop_circle:", key="chat_stop", on_click=stop, args=(job_id,))
        if not queue().worker().alive:
            st.caption("The worker has ended: start it in the sidebar, then stop this message and ask again.")
        elif reply.answered is not None:
            st.caption("Answered. Measuring each token's cosine and judging: a few seconds.", width="content")
        elif not any(reply.answers):
            seconds = time.time() - chat.exchange(number).created
            st.caption(plain(waiting_words(job, seconds=seconds)), width="content")


def is_measured_in_part(exchange: Exchange, reply: Reply) -> bool:
    """Whether of an answer that stands a verdict is missing, or where it trips: of each column that said something, as
    long as a circuit breaker was asked."""
    if reply.answered is None:
        return False
    asked = [index for index in range(len(exchange.columns)) if reply.is_asked(index)]
    broken = any(not exchange.columns[index].checkpoint.is_base for index in asked)
    spoken = {index for index in asked if reply.answered.ids[index] or begun(exchange, reply, index)}
    judged, tripped = ({one.column for one in found} for found in (reply.verdicts, reply.trips))
    return not judged.issuperset(asked) or (broken and not tripped.issuperset(spoken))
