"""Which models a page asks: at first those that can do what the page is about, as far as their files say, then those
that it asked before."""

from collections.abc import Callable
from contextlib import suppress

import streamlit as st

from engine.records.chats.asked import MOST_COLUMNS, Column
from engine.records.checkpoints import has_weights, run_checkpoints
from engine.records.errors import WorkbenchError
from engine.records.runs import list_runs
from engine.records.spec_parts import ModelSpec
from workbench.chat.columns import BASE_MODEL, COUNT, dose_key, model_key, model_of
from workbench.kit.state import CHAT, MODEL, RUN, arrived, settings

# By page the models that it showed last.
KEPT = "chat_kept_columns"


def keep_columns(page: str) -> None:
    """Keep what is chosen while the pickers are not drawn: a widget that is left out of a drawing forgets its value.
    Who comes back to the page without a link finds the models that it showed."""
    kept = st.session_state.setdefault(KEPT, {})
    keys = (COUNT, BASE_MODEL, *map(model_key, range(MOST_COLUMNS)), *map(dose_key, range(MOST_COLUMNS)))
    if arrived() and not {CHAT, RUN, MODEL} & set(st.query_params):
        st.session_state.update(kept.get(page, {}))
    linked = st.query_params.get(MODEL)
    if linked and model_key(0) not in st.session_state and not {CHAT, RUN} & set(st.query_params):
        # Who comes by a link to a model meets it, and the newest run of it if there is one.
        st.session_state[BASE_MODEL] = linked
        _choose(lambda model: model.name == linked)
    for key in keys:
        if key in st.session_state:
            st.session_state[key] = st.session_state[key]
    if model_key(0) in st.session_state:
        # Else they are drawn for the first time now, and it is not known which.
        kept[page] = {key: st.session_state[key] for key in keys if key in st.session_state}


def prefer_models(can: Callable[[ModelSpec], bool | None], *, base: str) -> None:
    """Before the pickers are drawn for the first time: the newest run whose model can, else this base model. What a
    link or the user says stays."""
    if model_key(0) not in st.session_state and not {CHAT, RUN, MODEL} & set(st.query_params):
        st.session_state.setdefault(BASE_MODEL, base)
        _choose(can)


def _choose(can: Callable[[ModelSpec], bool | None]) -> None:
    for run in list_runs(settings().runs):
        with suppress(WorkbenchError):
            if has_weights(run) and (kept := run_checkpoints(run)) and can(run.spec().model):
                st.session_state[COUNT] = 2
                st.session_state[model_key(0)], st.session_state[model_key(1)] = "base", str(kept[-1])
                return
    st.session_state[COUNT] = 1
    for index in range(MOST_COLUMNS):
        # A column that is added would else ask the newest run, whose model cannot.
        st.session_state[model_key(index)] = "base"


def base_model(columns: tuple[Column, ...]) -> ModelSpec:
    """The base model of the columns, for what its files say; where they share none, asking says so."""
    try:
        return model_of(columns)
    except WorkbenchError:
        return ModelSpec()


def base_model_name(columns: tuple[Column, ...]) -> str:
    return base_model(columns).name
