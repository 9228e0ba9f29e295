"""Models that see pictures are asked first, and others are warned of."""

import streamlit as st

from engine.records.assembled import offered_assembled
from engine.records.model_files import sees_pictures
from engine.records.spec_parts import BUNDLED_MODEL
from workbench.chat.preferred import prefer_models
from workbench.kit.state import settings
from workbench.kit.words import plain


def prefer_models_that_see() -> None:
    models = settings().models
    base = next(iter(offered_assembled(models)), BUNDLED_MODEL)
    prefer_models(lambda model: sees_pictures(models, model.name), base=base)


def warn_of_blind(model: str) -> None:
    """Say what the worker would refuse, before anything is asked."""
    if sees_pictures(settings().models, model) is False:
        st.warning(
            plain(
                f"{model} sees no pictures, so it cannot be shown any: choose a run of a LLaVA or LLaVA-NeXT model "
                "(one of the preset pictures ships; its model is put together once by python -m engine assemble), or "
                "ask base models alone and write the folder or Hugging Face id of such a model."
            ),
            icon=":material/visibility_off:",
        )
