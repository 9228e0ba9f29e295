"""Tools: what base and circuit-broken models call, side by side (?chat=ID, ?run=ID), or for a whole set (?set=ID)."""

from collections.abc import Callable
from functools import partial

import streamlit as st

from workbench.chat.preferred import keep_columns
from workbench.chat.transcripts import transcripts_view
from workbench.kit.frame import page_frame
from workbench.kit.state import ANSWER_SET, CHAT, RUN, open_tab, show_in_url
from workbench.tools.composer import keep_request
from workbench.tools.sets import tool_sets_view
from workbench.tools.view import tools_view

VIEWS: dict[str, Callable[[], None]] = {
    "Tools": tools_view,
    "Run a set": tool_sets_view,
    "Transcripts": partial(transcripts_view, only="tools"),
}

with page_frame():
    st.title("Tools", anchor=False)
    keep_request()
    keep_columns("tools")
    show_in_url(CHAT, ANSWER_SET)
    open_tab("tools_view", "Run a set" if ANSWER_SET in st.query_params else "Tools", CHAT, ANSWER_SET, RUN)
    tabs = st.tabs(list(VIEWS), key="tools_view", bind="query-params", on_change="rerun")
    for tab, draw in zip(tabs, VIEWS.values(), strict=True):
        if tab.open:
            with tab:
                draw()
