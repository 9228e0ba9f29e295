"""Models whose chat template takes tools are asked first, and others are warned of."""

import streamlit as st

from engine.records.model_files import takes_tools
from engine.records.packaged import PACKAGED, is_fetched
from engine.records.spec_parts import ModelSpec
from engine.records.tools_taken import template_words
from workbench.chat.preferred import prefer_models
from workbench.kit.state import settings
from workbench.kit.words import plain


def prefer_models_with_tools() -> None:
    """As prefer_models does; a packaged model that was fetched before one that was not."""
    models = settings().models
    here = [name for name in PACKAGED if is_fetched(models, name)]
    prefer_models(lambda model: takes_tools(models, model), base=next(iter([*here, *PACKAGED])))


def warn_without_tools(model: ModelSpec) -> None:
    """Say what the worker would refuse, before anything is asked."""
    if takes_tools(settings().models, model) is False:
        st.warning(
            plain(
                f"{template_words(model)} takes no tools, so it cannot be asked with any: choose another base "
                f"model, such as {next(iter(PACKAGED))}, or a run of one."
            ),
            icon=":material/build_circle:",
        )
