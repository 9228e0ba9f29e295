"""Tools: models, a conversation of calls and results, what is offered, the request. Answers come by the record."""

import time

import streamlit as st

from engine.records.chats.asked import Column
from engine.records.chats.chat import MOST_ROUNDS, Chat, Exchange
from engine.records.errors import WorkbenchError
from workbench.chat.asking import (
    CHOSEN,
    are_asked,
    continued,
    dose_changed,
    forget,
    is_come_to,
    is_sent_already,
    submit,
)
from workbench.chat.call_cards import STYLE as CARD_STYLE
from workbench.chat.columns import column_pickers, columns_buttons
from workbench.chat.conversation import conversation, downloads
from workbench.chat.preferred import base_model
from workbench.chat.tint import STYLE
from workbench.chat.view import opened_chat, to_be_read
from workbench.kit.frame import catching
from workbench.kit.words import plain
from workbench.tools.composer import CONTINUE, PROBLEM, clear_request, composer, put_back, written
from workbench.tools.known import offer, offered_tools
from workbench.tools.models import model_with_tools, prefer_models_with_tools
from workbench.tools.offering import offering

# The chat whose tools the choice shows.
OPENED = "tools_opened"


def tools_view() -> None:
    st.html(f"<style>{STYLE}{CARD_STYLE}</style>")
    prefer_models_with_tools()
    chat = opened_chat()
    numbers = chat.thread() if chat else []
    _offer_as_then(chat, numbers)
    columns = column_pickers(on_dose=dose_changed)
    st.session_state[CHOSEN] = columns
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        columns_buttons()
        if chat is not None and numbers:
            downloads(chat)
            st.button("New chat", icon=":material/add_comment:", key="chat_new", type="tertiary", on_click=forget)
    busy = False
    if chat is not None and numbers:
        busy = conversation(chat, numbers, put_back=put_back, go_on=_ways_on)
        if not are_asked(columns, chat.exchange(numbers[-1])):
            st.caption(":material/info: Other models are chosen now: the next request begins a new chat.")
    else:
        st.info(
            "Offer some tools and ask for something: every model's calls are shown side by side, with what is wrong "
            "with them and a canned result. Nothing is ever carried out. Next sample request fills in both.",
            icon=":material/build:",
        )
    tools = offering(base_model(columns))
    composer(tools, send=_send, busy=busy, read=to_be_read(chat, numbers, columns))


def _offer_as_then(chat: Chat | None, numbers: list[int]) -> None:
    """The tools of a chat that is opened by its link are offered when it is come to."""
    if chat is None or not numbers or not is_come_to(chat, OPENED):
        return
    offered = [chat.exchange(number).tools for number in numbers]
    offer(next((tools for tools in reversed(offered) if tools), ()))


def _ways_on(chat: Chat, number: int) -> None:
    """Behind the last answer: its results, where any column made a call."""
    if not chat.has_results(number):
        return
    if chat.rounds(number) >= MOST_ROUNDS:
        st.caption(f"Results were read {MOST_ROUNDS} times in a row: send a message to go on.", width="content")
        return
    st.button(
        "Go on with the results",
        icon=":material/fast_forward:",
        key="tools_go_on",
        type="primary",
        on_click=_go_on,
        args=(chat, number),
        help="Each model reads the canned results of its own calls, and answers. One that made no call is not asked.",
    )


@catching
def _go_on(chat: Chat, number: int) -> None:
    if chat.thread()[-1] != number:
        # Another tab has gone on meanwhile.
        return
    exchange = chat.exchange(number)
    results = {"turn": exchange.turn + 1, "results": True, "user": "", "parts": (), "created": time.time()}
    own_words = {"prefill": "", "forced": None, "alone": False}
    submit(chat, exchange.model_copy(update=results | own_words), seen=max(chat.numbers()))


@catching
def _send() -> None:
    """Write the request down and give it to the worker. What cannot be sent stays in the box."""
    try:
        columns: tuple[Column, ...] = st.session_state[CHOSEN]
        now, tools = written(), offered_tools()
        if not now["user"].strip():
            st.session_state[PROBLEM] = "The request is empty: write what the models are to do."
            return
        if not tools:
            st.session_state[PROBLEM] = "No tool is offered: choose at least one, or take a sample request."
            return
        exchange = Exchange(model=model_with_tools(columns), columns=columns, tools=tools, **now)
        if is_sent_already(exchange):
            return clear_request()
        chat, turn, seen = continued(columns)
        alone = turn > 0 and not st.session_state.get(CONTINUE, True)
        submit(chat, exchange.model_copy(update={"turn": turn, "alone": alone}), seen=seen)
        st.session_state[OPENED] = chat.id
    except WorkbenchError as error:
        st.session_state[PROBLEM] = plain(str(error))
        return
    clear_request()
