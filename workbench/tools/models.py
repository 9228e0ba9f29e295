"""Which models are asked at first: those whose chat template takes tools, as far as their files say."""

import streamlit as st

from engine.records.chats.asked import Column
from engine.records.errors import WorkbenchError
from engine.records.model_files import takes_tools
from engine.records.packaged import PACKAGED, is_fetched
from engine.records.runs import open_run
from engine.records.spec_parts import BUNDLED_MODEL
from workbench.chat.columns import BASE_MODEL, COUNT, model_choices, model_key, model_of
from workbench.kit.state import CHAT, MODEL, RUN, settings


def prefer_models_with_tools() -> None:
    """Before the pickers are drawn for the first time: the newest run whose model takes tools, else a base model that
    does. What a link or the user says stays."""
    if model_key(0) in st.session_state or {CHAT, RUN, MODEL} & set(st.query_params):
        return
    for choice in model_choices():
        if choice.checkpoint == "base":
            continue
        try:
            name = open_run(settings().runs, choice.checkpoint.partition("@")[0]).spec().model.name
        except WorkbenchError:
            continue
        if takes_tools(settings().models, name):
            st.session_state[COUNT] = 2
            st.session_state[model_key(0)], st.session_state[model_key(1)] = "base", choice.checkpoint
            return
    st.session_state[COUNT] = 1
    st.session_state[model_key(0)] = "base"
    here = [name for name in PACKAGED if is_fetched(settings().models, name)]
    st.session_state.setdefault(BASE_MODEL, next(iter([*here, *PACKAGED])))


def base_model_name(columns: tuple[Column, ...]) -> str:
    """The base model of the columns, for what its files say; where they share none, asking says so."""
    try:
        return model_of(columns).name
    except WorkbenchError:
        return BUNDLED_MODEL
