"""Which models are asked: up to four columns, each a model and its dose. Knows nothing of what is asked."""

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import streamlit as st

from engine.records.chats.chat import MOST_COLUMNS, MOST_DOSE, Column
from engine.records.checkpoints import Checkpoint, run_checkpoints
from engine.records.errors import RunError, WorkbenchError
from engine.records.runs import ACTIVE, list_runs, open_run
from engine.records.spec import BUNDLED_MODEL, ModelSpec, RunSpec
from workbench.kit.state import MODEL, RUN, settings

COUNT = "chat_columns"
BASE_MODEL = "chat_base"
SHOWN_RUNS = 60


class Choice(NamedTuple):
    """What can be asked, in the user's words."""

    checkpoint: str
    label: str


def model_key(index: int) -> str:
    return f"chat_model_{index}"


def dose_key(index: int) -> str:
    return f"chat_dose_{index}"


def model_choices() -> list[Choice]:
    """The base model, then each run's checkpoints, the newest run and its last one first. Unreadable runs are left
    out.
    """
    found = [Choice("base", "Base model")]
    runs = list_runs(settings().runs)
    # Of many runs the newest, those that ship, and those that a link or a chat names.
    named = {st.query_params.get(RUN, ""), *(str(st.session_state.get(model_key(i))) for i in range(MOST_COLUMNS))}
    named = {name.partition("@")[0] for name in named}
    for run in [*runs[:SHOWN_RUNS], *(run for run in runs[SHOWN_RUNS:] if run.read_only or run.id in named)]:
        try:
            checkpoints, record, name = run_checkpoints(run), run.record(), run.name
        except WorkbenchError:
            continue
        for checkpoint in reversed(checkpoints):
            if checkpoint.step is not None:
                words = f"{name}, step {checkpoint.step}"
            else:
                words = f"{name}, as it trains" if record.status in ACTIVE else name
            found.append(Choice(str(checkpoint), words))
    return found


def model_name(checkpoint: Checkpoint) -> str:
    """A checkpoint in the user's words, also when its run is gone."""
    if checkpoint.is_base:
        return "Base"
    try:
        name = open_run(settings().runs, checkpoint.run_id).name
    except RunError:
        name = f"{checkpoint.run_id} (deleted)"
    return name if checkpoint.step is None else f"{name}, step {checkpoint.step}"


def show_columns(columns: tuple[Column, ...], model: ModelSpec) -> None:
    """Set the pickers to a chat's columns."""
    st.session_state[BASE_MODEL] = model.name
    st.session_state[COUNT] = len(columns)
    for index, column in enumerate(columns):
        st.session_state[model_key(index)] = str(column.checkpoint)
        st.session_state[dose_key(index)] = column.dose


def column_pickers(*, on_dose: Callable[[], None] | None) -> tuple[Column, ...]:
    """One picker a column, with the dose of its adapter below; returns what is chosen."""
    choices = model_choices()
    labels = {choice.checkpoint: choice.label for choice in choices}
    _set_defaults(choices)
    count = int(st.session_state[COUNT])
    columns: list[Column] = []
    for index, place in enumerate(st.columns([*[4] * count, 0.9], gap="medium", vertical_alignment="top")[:count]):
        with place:
            columns.append(_picker(index, labels, on_dose))
    if all(column.checkpoint.is_base for column in columns):
        _base_picker()
    return tuple(columns)


def columns_buttons() -> None:
    """Add or take away a column."""
    count = int(st.session_state[COUNT])
    st.button(
        "Add a model",
        icon=":material/add:",
        type="tertiary",
        key="chat_add",
        disabled=count >= MOST_COLUMNS,
        on_click=_add,
        help=f"Up to {MOST_COLUMNS} models answer side by side.",
    )
    if count > 1:
        st.button("Remove the last", icon=":material/remove:", type="tertiary", key="chat_remove", on_click=_remove)


def model_of(columns: tuple[Column, ...]) -> ModelSpec:
    """The base model that all columns share. Raises RunError when they do not share one."""
    specs: dict[str, RunSpec] = {}
    for column in columns:
        checkpoint = column.checkpoint
        if not checkpoint.is_base:
            specs[checkpoint.run_id] = open_run(settings().runs, checkpoint.run_id).spec()
    names = {spec.model.name for spec in specs.values()}
    if len(names) > 1:
        raise RunError(
            f"These runs were trained on different models ({', '.join(sorted(names))}): choose runs of one model."
        )
    if specs:
        return next(iter(specs.values())).model
    return ModelSpec(name=str(st.session_state.get(BASE_MODEL) or BUNDLED_MODEL))


def first_target(columns: tuple[Column, ...]) -> str:
    """The target blocks of the first run that is asked, as its spec has them; '' without one."""
    for column in columns:
        if not column.checkpoint.is_base:
            return open_run(settings().runs, column.checkpoint.run_id).spec().blocks.targets
    return ""


def _picker(index: int, labels: dict[str, str], on_dose: Callable[[], None] | None) -> Column:
    checkpoint = st.selectbox(
        f"Model {index + 1}",
        list(labels),
        format_func=lambda one: labels.get(one, one),
        key=model_key(index),
        help="The base model, any run, or a run at one of its checkpoints. A run in training answers as it is now.",
    )
    if checkpoint == "base":
        st.caption("No adapter.")
        return Column(checkpoint="base")
    dose = st.slider(
        f"Dose {index + 1}",
        0.0,
        MOST_DOSE,
        step=0.05,
        key=dose_key(index),
        on_change=on_dose,
        help="How much of the adapter: 0 none, 1 as trained. A change asks the last message again.",
    )
    return Column(checkpoint=str(checkpoint), dose=dose)


def _base_picker() -> None:
    """Which base model, where no run says it."""
    names = [BUNDLED_MODEL]
    for run in list_runs(settings().runs)[:SHOWN_RUNS]:
        with suppress(WorkbenchError):
            names.append(run.spec().model.name)
    wanted = st.session_state.get(BASE_MODEL) or st.query_params.get(MODEL) or BUNDLED_MODEL
    st.session_state[BASE_MODEL] = wanted
    st.selectbox(
        "Base model",
        list(dict.fromkeys([*names, wanted])),
        key=BASE_MODEL,
        accept_new_options=True,
        help="Only base models are asked, so no run says which. A Hugging Face id or a folder may be written here.",
    )


def _set_defaults(choices: list[Choice]) -> None:
    known = {choice.checkpoint for choice in choices}
    newest = choices[1].checkpoint if len(choices) > 1 else "base"
    wanted = st.query_params.get(RUN)
    st.session_state.setdefault(COUNT, 2 if len(choices) > 1 else 1)
    for index in range(MOST_COLUMNS):
        key = model_key(index)
        if st.session_state.get(key) not in known:
            first = "base" if index == 0 else wanted if wanted in known else newest
            st.session_state[key] = first
        # Said again, so that a column that is not drawn for a while keeps its choice.
        st.session_state[key] = st.session_state[key]
        st.session_state[dose_key(index)] = st.session_state.get(dose_key(index), 1.0)


def _add() -> None:
    st.session_state[COUNT] = min(MOST_COLUMNS, int(st.session_state[COUNT]) + 1)


def _remove() -> None:
    st.session_state[COUNT] = max(1, int(st.session_state[COUNT]) - 1)
