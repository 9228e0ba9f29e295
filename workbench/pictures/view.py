"""Ask about a picture: models, conversation, heat map, picture, message box. Answers come by the record alone."""

import streamlit as st

from engine.records.chats.asked import Column
from engine.records.chats.chat import Chat, Exchange
from engine.records.conversation import Picture
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
from workbench.chat.columns import column_pickers, columns_buttons, has_probe, model_of
from workbench.chat.composer import CONTINUE, PROBLEM, clear_message, composer, put_back, written
from workbench.chat.conversation import conversation, downloads
from workbench.chat.preferred import base_model_name
from workbench.chat.tint import STYLE
from workbench.chat.view import opened_chat, to_be_read
from workbench.kit.frame import catching
from workbench.kit.words import plain
from workbench.pictures.choice import choose, chosen_picture, picture_choice, was_given_as_harmful
from workbench.pictures.heat import heat_maps
from workbench.pictures.models import prefer_models_that_see, warn_of_blind
from workbench.pictures.requests import requests

# The chat whose picture the choice shows.
OPENED = "pictures_opened"


def pictures_view() -> None:
    st.html(f"<style>{STYLE}{CARD_STYLE}</style>")
    prefer_models_that_see()
    chat = opened_chat()
    numbers = chat.thread() if chat else []
    _show_as_then(chat, numbers)
    columns = column_pickers(on_dose=dose_changed)
    st.session_state[CHOSEN] = columns
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        columns_buttons()
        if chat is not None and numbers:
            downloads(chat)
            st.button("New chat", icon=":material/add_comment:", key="chat_new", type="tertiary", on_click=forget)
    warn_of_blind(base_model_name(columns))
    busy = False
    if chat is not None and numbers:
        busy = conversation(chat, numbers, put_back=put_back)
        if not are_asked(columns, chat.exchange(numbers[-1])):
            st.caption(":material/info: Other models are chosen now: the next question begins a new chat.")
        measured = [number for number in numbers if chat.reply(number).picture_trips]
        if measured and not busy:
            heat_maps(chat, measured[-1])
    else:
        st.info(
            "Choose or upload a picture and ask something about it: all models are shown it and answer side by side. "
            "Behind the answers stands how far the breaker turned each part of the picture and each word.",
            icon=":material/image:",
        )
    picture_choice()
    composer(
        send=_send,
        busy=busy,
        read=to_be_read(chat, numbers, columns),
        has_probe=has_probe(columns),
        shelf=requests(),
    )


def _show_as_then(chat: Chat | None, numbers: list[int]) -> None:
    """The picture of a chat that is opened by its link is chosen when it is come to."""
    if chat is None or not numbers or not is_come_to(chat, OPENED):
        return
    if shown := _pictures(chat, numbers):
        choose(shown[-1].sha256)


@catching
def _send() -> None:
    """Write the question down and give it to the worker. What cannot be sent stays in the box."""
    try:
        columns: tuple[Column, ...] = st.session_state[CHOSEN]
        now, picture = written(has_probe=has_probe(columns), shelf=requests()), chosen_picture()
        if not now.user.strip():
            st.session_state[PROBLEM] = "The message is empty: write what you want to know of the picture."
            return
        exchange = Exchange(model=model_of(columns), columns=columns, **now._asdict())
        if is_sent_already(exchange):
            return clear_message()
        chat, turn, seen = continued(columns)
        alone = turn > 0 and not st.session_state.get(CONTINUE, False)
        above = [] if alone else _pictures(chat, chat.since_alone(chat.thread()[:turn]))
        if picture is None and not above:
            st.session_state[PROBLEM] = "No picture is chosen: choose or upload one, or ask in Side by side."
            return
        # The last picture that stands above is read there; an earlier one would be further away than another.
        shown = () if picture is None or (above and above[-1].sha256 == picture.sha256) else (picture,)
        harmful = now.harmful or was_given_as_harmful([*above, *shown])
        exchange = exchange.model_copy(update={"turn": turn, "alone": alone, "parts": shown, "harmful": harmful})
        submit(chat, exchange, seen=seen)
        st.session_state[OPENED] = chat.id
    except WorkbenchError as error:
        st.session_state[PROBLEM] = plain(str(error))
        return
    clear_message()


def _pictures(chat: Chat, numbers: list[int]) -> list[Picture]:
    return [part for number in numbers for part in chat.exchange(number).parts if isinstance(part, Picture)]
