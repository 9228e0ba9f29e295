"""The list of transcripts: open one by its link, delete it. Reads what was asked, not what was answered."""

from typing import Literal

import streamlit as st

from engine.records.chats.chat import Chat, list_chats
from engine.records.deleting import delete_kept
from engine.records.errors import WorkbenchError
from workbench.chat.asking import job_of
from workbench.chat.columns import column_names
from workbench.kit.blur import blurred, harmful_text
from workbench.kit.frame import catching, places
from workbench.kit.state import CHAT, blurs, queue, settings
from workbench.kit.words import moment, plain

SHOWN = 30
WORDS = 110
Only = Literal["all", "tools", "pictures"]
ASKED: dict[Only, str] = {
    "all": "asked something",
    "tools": "asked something with tools",
    "pictures": "asked something about a picture",
}


def transcripts_view(*, only: Only = "all") -> None:
    """only: those that offer tools, or that show pictures."""
    chats = [chat for chat in list_chats(settings()) if only in ("all", _page(chat))]
    if not chats:
        st.info(f"Transcripts are listed here once you have {ASKED[only]}.", icon=":material/forum:")
        return
    pages = -(-len(chats) // SHOWN)
    page = min(int(st.session_state.get("transcripts_page", 1)), pages)
    for chat in chats[(page - 1) * SHOWN : page * SHOWN]:
        _row(chat)
    if pages > 1:
        st.pagination(pages, key="transcripts_page")


def _row(chat: Chat) -> None:
    try:
        numbers = chat.thread()
        first = chat.exchange(numbers[0]) if numbers else None
    except WorkbenchError as error:
        with st.container(horizontal=True, vertical_alignment="center", key=f"row_chat_{chat.id}"):
            st.error(plain(str(error)), width="stretch")
            _delete_button(chat)
        return
    if first is None:
        return
    with st.container(horizontal=True, vertical_alignment="center", key=f"row_chat_{chat.id}"):
        page = places()[_page(chat)]
        st.page_link(page, label=moment(first.created), query_params={CHAT: chat.id}, width=130)
        names = " | ".join(column_names(first.columns))
        turns = f"{len(numbers)} {'turn' if len(numbers) == 1 else 'turns'}"
        if first.tools:
            turns += f" · {len(first.tools)} {'tool' if len(first.tools) == 1 else 'tools'}"
        st.caption(plain(f"{names} · {turns}"), width=320)
        hidden = first.harmful and blurs()
        with blurred(f"transcript_{chat.id}", hidden=hidden):
            harmful_text(first.user if len(first.user) <= WORDS else first.user[:WORDS] + "…", hidden=hidden)
        _delete_button(chat)


def _delete_button(chat: Chat) -> None:
    with st.popover("Delete", icon=":material/delete:", type="tertiary", key=f"ask_delete_{chat.id}"):
        st.caption("The conversation is gone then, for everybody who uses this workbench.")
        st.button("Delete it", key=f"delete_{chat.id}", icon=":material/delete:", on_click=_delete, args=(chat,))


def _page(chat: Chat) -> str:
    """Where this transcript is opened."""
    return "tools" if chat.offers_tools else "pictures" if chat.shows_pictures else "side_by_side"


@catching
def _delete(chat: Chat) -> None:
    """One that is being answered is stopped."""
    for number in chat.numbers()[-1:]:
        if (job := job_of(chat, number)) is not None and job.status in ("queued", "running"):
            queue().cancel(job.id)
    delete_kept(chat.folder)
    if st.query_params.get(CHAT) == chat.id:
        st.query_params.pop(CHAT, None)
