"""Which models are asked at first: those whose chat template takes tools, as far as their files say."""

import streamlit as st

from engine.records.chats.asked import MOST_COLUMNS, Column
from engine.records.errors import WorkbenchError
from engine.records.model_files import takes_tools
from engine.records.packaged import PACKAGED, is_fetched
from engine.records.runs import open_run
from engine.records.spec_parts import BUNDLED_MODEL
from workbench.chat.columns import BASE_MODEL, COUNT, model_choices, model_key, model_of
from workbench.kit.state import CHAT, MODEL, RUN, settings
from workbench.kit.words import plain


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
    for index in range(MOST_COLUMNS):
        # A column that is added would else ask the newest run, whose model takes none.
        st.session_state[model_key(index)] = "base"
    here = [name for name in PACKAGED if is_fetched(settings().models, name)]
    st.session_state.setdefault(BASE_MODEL, next(iter([*here, *PACKAGED])))


def base_model_name(columns: tuple[Column, ...]) -> str:
    """The base model of the columns, for what its files say; where they share none, asking says so."""
    try:
        return model_of(columns).name
    except WorkbenchError:
        return BUNDLED_MODEL


def warn_without_tools(model: str) -> None:
    """Say what the worker would refuse, before anything is asked."""
    if takes_tools(settings().models, model) is False:
        st.warning(
            plain(
                f"The chat template of {model} takes no tools, so it cannot be asked with any: choose another base "
                "model, such as packaged/Qwen2.5-Coder-0.5B-Instruct, or a run of one."
            ),
            icon=":material/build_circle:",
        )
