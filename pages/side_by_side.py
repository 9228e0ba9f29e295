"""Side by side: prompt the base and the circuit-broken model at once (?chat=ID, ?run=ID), or a whole set (?set=ID)."""

import streamlit as st

from workbench.chat.composer import keep_message
from workbench.chat.linked import MESSAGE, PROMPT
from workbench.chat.preferred import keep_columns
from workbench.chat.sets import sets_view
from workbench.chat.steering import keep_steering
from workbench.chat.transcripts import transcripts_view
from workbench.chat.view import chat_view
from workbench.kit.frame import page_frame
from workbench.kit.state import ANSWER_SET, CHAT, RUN, open_tab, show_in_url

VIEWS = {"Chat": chat_view, "Run a set": sets_view, "Transcripts": transcripts_view}

with page_frame():
    st.title("Side by side", anchor=False)
    named = "Run a set" if ANSWER_SET in st.query_params else "Chat"
    open_tab("side_view", named, CHAT, ANSWER_SET, RUN, PROMPT, MESSAGE)
    keep_steering()
    keep_message()
    keep_columns("side_by_side")
    show_in_url(CHAT, ANSWER_SET)
    tabs = st.tabs(list(VIEWS), key="side_view", bind="query-params", on_change="rerun")
    for tab, draw in zip(tabs, VIEWS.values(), strict=True):
        if tab.open:
            with tab:
                draw()
