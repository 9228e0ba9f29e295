"""Models whose chat template takes tools are asked first; others are warned of, or read the tools in words."""

import streamlit as st

from engine.records.chats.asked import Column
from engine.records.model_files import takes_tools
from engine.records.packaged import PACKAGED, is_fetched
from engine.records.spec_parts import ModelSpec
from engine.records.tools_taken import template_words
from workbench.chat.columns import model_of
from workbench.chat.preferred import prefer_models
from workbench.kit.state import settings
from workbench.kit.words import plain

IN_WORDS = "tools_in_words"


def prefer_models_with_tools() -> None:
    """As prefer_models does; a packaged model that was fetched before one that was not."""
    models = settings().models
    here = [name for name in PACKAGED if is_fetched(models, name)]
    prefer_models(lambda model: takes_tools(models, model), base=next(iter([*here, *PACKAGED])))


def model_with_tools(columns: tuple[Column, ...]) -> ModelSpec:
    """The base model of the columns as it is asked here: with tools in words, where its template takes none and the
    user wants that. Raises RunError as model_of does."""
    model = model_of(columns)
    in_words = bool(st.session_state.get(IN_WORDS)) and _can_in_words(model)
    return model.model_copy(update={"chat_template": "tools_in_words"}) if in_words else model


def warn_without_tools(model: ModelSpec) -> None:
    """Say what the worker would refuse, before anything is asked, and offer the tools in words."""
    if takes_tools(settings().models, model) is not False:
        return
    can = _can_in_words(model)
    if not (can and st.session_state.get(IN_WORDS)):
        st.warning(
            plain(
                f"{template_words(model)} takes no tools, so it cannot be asked with any: choose another base "
                f"model, such as {next(iter(PACKAGED))}, or a run of one"
                + (", or write them into its messages." if can else ".")
            ),
            icon=":material/build_circle:",
        )
    if can:
        st.toggle(
            "Write tools, calls and results into the messages",
            key=IN_WORDS,
            persist_state="session",
            help="For a model whose chat template has no place for tools: definitions stand in the system turn, and it "
            "is told to call by a line of JSON. It was not trained for this, and may call badly or never.",
        )


def _can_in_words(model: ModelSpec) -> bool:
    return model.chat_template == "model" and takes_tools(settings().models, model) is False
