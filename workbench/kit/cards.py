"""Cards of models and prompt sets: asked of the worker once, then read. Knows the queue and the session."""

import json
from typing import Any, Literal

import streamlit as st

from engine.records.cards import DataCard, ModelCard, asked_of, read_data_card, read_model_card
from engine.records.conversation import Label
from engine.records.prompt_files import file_stamps
from engine.records.spec_parts import ModelSpec
from workbench.kit.frame import catching
from workbench.kit.state import ASKED, queue, settings
from workbench.kit.words import plain

Kind = Literal["describe_model", "describe_data"]


def model_payload(model: ModelSpec) -> dict[str, Any]:
    """What is asked about a model."""
    return asked_of(model, settings().models)


def data_payload(model: ModelSpec, *, source: str, label: Label, answer_field: str) -> dict[str, Any]:
    """What is asked about a prompt set, with what its files look like now: a file that was changed is another set."""
    asked = {"model": model_payload(model), "source": source, "label": label, "answer_field": answer_field}
    # Lists, as the queue gives them back.
    return asked | {"files": [list(stamp) for stamp in file_stamps(source)]}


def model_card(payload: dict[str, Any]) -> ModelCard | None:
    """The card, or None while the worker finds out; it is asked once a session."""
    card = read_model_card(settings().cards, payload)
    if card is None:
        _ask("describe_model", payload)
    return card


def data_card(payload: dict[str, Any]) -> DataCard | None:
    """The card, or None while the worker finds out; it is asked once a session."""
    card = read_data_card(settings().cards, payload)
    if card is None:
        _ask("describe_data", payload)
    return card


@st.fragment(run_every=1)
@catching
def wait_for_card(kind: Kind, payload: dict[str, Any], what: str) -> None:
    """Say that the worker is looking, reload the page when it has found out, or say why it could not."""
    read = read_model_card if kind == "describe_model" else read_data_card
    job_id = _asked().get(_name(kind, payload))
    job = queue().job(job_id, of=payload) if job_id is not None else None
    # The card is written before its job is done: looking in the other order could miss both.
    if read(settings().cards, payload) is not None:
        st.rerun()
    if job is not None and job.status in ("queued", "running"):
        worker = queue().worker()
        if worker.alive:
            st.caption(f":material/hourglass_top: The worker reads {what}. You can go on filling in the form.")
        else:
            st.caption(f":material/power_off: The worker will read {what} once it runs: start it in the sidebar.")
        return
    reason = plain(job.error) if job is not None and job.error else "the worker gave no answer"
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f":red[:material/error: {what.capitalize()} could not be read: {reason}]", width="content")
        st.button(
            "Try again",
            key=f"again_{_name(kind, payload)}",
            on_click=catching(_submit),
            args=(kind, payload),
            type="tertiary",
        )


def _ask(kind: Kind, payload: dict[str, Any]) -> None:
    if _name(kind, payload) not in _asked():
        _submit(kind, payload)


def _submit(kind: Kind, payload: dict[str, Any]) -> None:
    _asked()[_name(kind, payload)] = queue().submit(kind, payload=payload)


def _asked() -> dict[str, int]:
    return st.session_state.setdefault(ASKED, {})


def _name(kind: Kind, payload: dict[str, Any]) -> str:
    return f"{kind}:{json.dumps(payload, sort_keys=True)}"
