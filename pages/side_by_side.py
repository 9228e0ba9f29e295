"""Side by side: prompt the base and the circuit-broken model at once (?chat=ID, ?run=ID), or a whole set (?set=ID)."""

import streamlit as st

from workbench.chat_composer import keep_message
from workbench.chat_sets import sets_view
from workbench.chat_transcripts import transcripts_view
from workbench.kit.frame import page_frame
from workbench.side_by_side import chat_view

VIEWS = {"Chat": chat_view, "Run a set": sets_view, "Transcripts": transcripts_view}

with page_frame():
    st.title("Side by side", anchor=False)
    keep_message()
    tabs = st.tabs(list(VIEWS), key="side_view", bind="query-params", on_change="rerun")
    for tab, draw in zip(tabs, VIEWS.values(), strict=True):
        if tab.open:
            with tab:
                draw()
