"""Pictures: ask base and circuit-broken model about a picture, side by side (?chat=ID, ?run=ID), attack its pixels
(?attack=ID)."""

from collections.abc import Callable
from functools import partial

import streamlit as st

from workbench.chat.composer import keep_message
from workbench.chat.preferred import keep_columns
from workbench.chat.transcripts import transcripts_view
from workbench.kit.frame import page_frame
from workbench.kit.state import ATTACK, CHAT, RUN, open_tab, show_in_url
from workbench.pictures.attack import attack_view
from workbench.pictures.attack_form import keep_fields
from workbench.pictures.choice import keep_choice
from workbench.pictures.gallery import gallery_view
from workbench.pictures.view import pictures_view

VIEWS: dict[str, Callable[[], None]] = {
    "Ask": pictures_view,
    "Attack": attack_view,
    "Gallery": gallery_view,
    "Transcripts": partial(transcripts_view, only="pictures"),
}

with page_frame():
    st.title("Pictures", anchor=False)
    keep_message()
    keep_columns("pictures")
    keep_choice()
    keep_fields()
    show_in_url(CHAT, ATTACK)
    open_tab("pictures_view", "Attack" if ATTACK in st.query_params else "Ask", CHAT, ATTACK, RUN)
    tabs = st.tabs(list(VIEWS), key="pictures_view", bind="query-params", on_change="rerun")
    for tab, draw in zip(tabs, VIEWS.values(), strict=True):
        if tab.open:
            with tab:
                draw()
