"""Run a set with tools: requests with the tools that each offers, asked as they are or with their own call forced."""

from typing import cast

import streamlit as st

from engine.records.chats.asked import CallStart, Column
from engine.records.chats.sets import SetRequest
from engine.records.chats.tool_sets import offers_tools, tool_sets
from engine.records.conversation import Label
from engine.records.errors import DataError
from engine.records.prompt_files import read_source
from workbench.chat.columns import column_pickers, columns_buttons
from workbench.chat.preferred import base_model
from workbench.chat.sets import answered_sets, side_and_count, start_set, trips_choice
from workbench.tools.composer import FORCES, SYSTEM, sampling
from workbench.tools.models import model_with_tools, prefer_models_with_tools, warn_without_tools


def tool_sets_view() -> None:
    prefer_models_with_tools()
    columns = column_pickers(on_dose=None)
    with st.container(horizontal=True, gap="small"):
        columns_buttons()
    with st.container(border=True, key="tool_set_request"):
        source, label, limit = st.columns([3, 1.2, 1.1], vertical_alignment="bottom", gap="medium")
        chosen = str(
            source.selectbox(
                "Set of requests",
                tool_sets(),
                key="tool_set_source",
                persist_state="session",
                accept_new_options=True,
                help="A set that ships, or the path of a JSONL file with 'prompt' and 'tools' (see docs/data.md).",
            )
        )
        side, count = side_and_count(label, limit, chosen, rows="requests", key="tool_set")
        force, button = st.columns([4.2, 1.1], vertical_alignment="bottom", gap="medium")
        forced = force.selectbox(
            "Each answer begins with",
            list(FORCES),
            key="tool_set_forced",
            persist_state="session",
            format_func=lambda start: FORCES[start],
            help="A forced call is of the function that the row itself expects; rows without one are asked directly.",
        )
        started = button.button("Answer them", key="tool_set_start", type="primary", icon=":material/playlist_play:")
    warn_without_tools(base_model(columns))
    st.caption("System prompt and sampling are those of the tab Tools.")
    trips = trips_choice(key="tool_set_trips")
    if started:
        _start(columns, chosen, side, count, forced, trips=trips)
    answered_sets(of_tools=True)


def _start(columns: tuple[Column, ...], source: str, label: Label, limit: int, forced: str, *, trips: bool) -> None:
    # Read here as well, so that a bad file is named before anything is queued.
    read_source(source, label=label)
    if not offers_tools(source):
        raise DataError(
            f"The rows of {source} offer no tools: choose a set with the field 'tools', or ask this one in Side by "
            "side."
        )
    start_set(
        SetRequest(
            model=model_with_tools(columns),
            columns=columns,
            source=source,
            label=label,
            limit=limit,
            system=st.session_state[SYSTEM],
            forced=cast(CallStart, forced) if forced else "",
            sampling=sampling(),
            trips=trips,
        )
    )
