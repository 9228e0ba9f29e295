"""Side by side: models, conversation, message box. Answers come by the record alone."""

import streamlit as st

from engine.records.chats.asked import Column
from engine.records.chats.chat import Chat, Exchange
from engine.records.errors import RunError, WorkbenchError
from workbench.chat.asking import (
    CHOSEN,
    OPENED,
    are_asked,
    continued,
    dose_changed,
    forget,
    is_come_to,
    is_sent_already,
    open_now,
    submit,
)
from workbench.chat.call_cards import STYLE as CARD_STYLE
from workbench.chat.columns import column_pickers, columns_buttons, has_probe, model_of, show_columns, steer
from workbench.chat.composer import CONTINUE, PROBLEM, ToBeRead, clear_message, composer, put_back, written
from workbench.chat.conversation import conversation, downloads
from workbench.chat.doses import dose_chart
from workbench.chat.tint import STYLE
from workbench.kit.frame import catching, places
from workbench.kit.state import CHAT
from workbench.kit.words import plain


def chat_view() -> None:
    st.html(f"<style>{STYLE}{CARD_STYLE}</style>")
    chat = opened_chat()
    columns = column_pickers(on_dose=dose_changed, steers=True)
    st.session_state[CHOSEN] = columns
    numbers = chat.thread() if chat else []
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        columns_buttons()
        dose_chart(columns)
        steer(columns, on_change=dose_changed)
        if chat is not None and numbers:
            downloads(chat)
            st.button("New chat", icon=":material/add_comment:", key="chat_new", type="tertiary", on_click=forget)
    busy = False
    if chat is not None and numbers:
        if chat.offers_tools:
            _of_tools(chat)
        busy = conversation(chat, numbers, put_back=put_back)
        if not are_asked(columns, chat.exchange(numbers[-1])):
            st.caption(":material/info: Other models are chosen now: the next message begins a new chat.")
    composer(send=_send, busy=busy, read=to_be_read(chat, numbers, columns), has_probe=has_probe(columns))


def to_be_read(chat: Chat | None, numbers: list[int], columns: tuple[Column, ...]) -> ToBeRead:
    """What the next message is read with."""
    if chat is None or not numbers or not are_asked(columns, chat.exchange(numbers[-1])):
        return ToBeRead(len(columns))
    # A turn that nobody answered is taken by the next message.
    answered = numbers if chat.reply(numbers[-1]).answered else numbers[:-1]
    turns = chat.since_alone(answered)
    reply = chat.reply(answered[-1]) if answered else None
    lengths = zip(reply.read, reply.answered.ids, strict=False) if reply and reply.answered else ()
    return ToBeRead(len(columns), len(turns), max((read + len(ids) for read, ids in lengths), default=0))


def opened_chat() -> Chat | None:
    """The chat of the link; its models are shown in the pickers when it is come to. One that is gone is said to be."""
    try:
        chat = open_now()
    except RunError as error:
        st.warning(plain(f"{error} What you ask now begins a new one."), icon=":material/link_off:")
        forget()
        return None
    numbers = chat.thread() if chat else []
    if chat is not None and numbers and is_come_to(chat, OPENED):
        last = chat.exchange(numbers[-1])
        show_columns(last.columns, last.model)
    return chat


def _of_tools(chat: Chat) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="chat_of_tools"):
        st.caption(":material/info: This conversation offers tools; a message from here offers none.", width="content")
        st.page_link(places()["tools"], label="Open it in Tools", icon=":material/build:", query_params={CHAT: chat.id})


@catching
def _send() -> None:
    """Write the message down and give it to the worker. What cannot be sent stays in the box."""
    try:
        columns: tuple[Column, ...] = st.session_state[CHOSEN]
        now = written(has_probe=has_probe(columns))
        if not now.user.strip():
            st.session_state[PROBLEM] = "The message is empty: write something to ask."
            return
        exchange = Exchange(model=model_of(columns), columns=columns, **now._asdict())
        if is_sent_already(exchange):
            return clear_message()
        chat, turn, seen = continued(columns)
        alone = turn > 0 and not st.session_state.get(CONTINUE, False)
        submit(chat, exchange.model_copy(update={"turn": turn, "alone": alone}), seen=seen)
    except WorkbenchError as error:
        st.session_state[PROBLEM] = plain(str(error))
        return
    clear_message()
