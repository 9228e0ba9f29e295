"""Models whose chat template takes tools are asked first, and others are warned of."""

import streamlit as st

from engine.records.model_files import takes_tools
from engine.records.packaged import PACKAGED, is_fetched
from workbench.chat.preferred import prefer_models
from workbench.kit.state import settings
from workbench.kit.words import plain


def prefer_models_with_tools() -> None:
    """As prefer_models does; a packaged model that was fetched before one that was not."""
    models = settings().models
    here = [name for name in PACKAGED if is_fetched(models, name)]
    prefer_models(lambda name: takes_tools(models, name), base=next(iter([*here, *PACKAGED])))


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
