"""Which models are asked: up to four columns, each a model, its adapter's strength and its steering. Not what."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

import streamlit as st

from engine.records.assembled import offered_assembled
from engine.records.chats.asked import MOST_COLUMNS, MOST_DOSE, Column
from engine.records.checkpoints import Checkpoint, has_weights, parse_checkpoint, run_checkpoints
from engine.records.errors import RunError, WorkbenchError
from engine.records.harmfulness import need_probes
from engine.records.packaged import PACKAGED
from engine.records.runs import ACTIVE, list_runs, open_run
from engine.records.spec import RunSpec
from engine.records.spec_parts import BUNDLED_MODEL, ModelSpec
from workbench.chat.steering import (
    forget_steering,
    show_steering,
    steering_choice,
    steering_of,
    steering_words,
    strength_slider,
)
from workbench.kit.fetching import model_is_here, offer_missing, unlisted_words
from workbench.kit.frame import places
from workbench.kit.state import MODEL, RUN, settings
from workbench.kit.words import plain, told_apart

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


def column_names(columns: Sequence[Column]) -> list[str]:
    """A heading a column, no two alike: model, adapter strength where it is not 1, and what tells equal ones apart."""
    names = []
    for column in columns:
        name = model_name(column.checkpoint)
        if not column.checkpoint.is_base and column.dose != 1:
            name += f", adapter strength {column.dose:g}" + (" (equals base)" if column.dose == 0 else "")
        if column.steering is not None:
            name += f", {steering_words(column.steering)}"
        names.append(name)
    # Two runs may have one name: their ids tell them apart. Twice the same model is counted.
    runs = {
        name: {column.checkpoint for column, own in zip(columns, names, strict=True) if own == name} for name in names
    }
    names = [
        f"{name} [{column.checkpoint.run_id}]" if len(runs[name]) > 1 else name
        for column, name in zip(columns, names, strict=True)
    ]
    return [
        f"{name} ({names[: index + 1].count(name)})" if names.count(name) > 1 else name
        for index, name in enumerate(names)
    ]


def show_columns(columns: tuple[Column, ...], model: ModelSpec) -> None:
    """Set the pickers to a chat's columns."""
    show_steering(columns)
    st.session_state[BASE_MODEL] = model.name
    st.session_state[COUNT] = len(columns)
    for index, column in enumerate(columns):
        st.session_state[model_key(index)] = str(column.checkpoint)
        st.session_state[dose_key(index)] = column.dose


def column_pickers(*, on_dose: Callable[[], None] | None, steers: bool = False) -> tuple[Column, ...]:
    """One picker a column, with the strength of its adapter below; returns what is chosen. steers: whether columns may
    be steered here."""
    if not steers:
        forget_steering()
    choices = model_choices()
    labels = told_apart({choice.checkpoint: choice.label for choice in choices})
    _say_unknown(labels)
    _set_defaults(choices)
    count = int(st.session_state[COUNT])
    columns: list[Column] = []
    for index, place in enumerate(st.columns([*[4] * count, 0.9], gap="medium", vertical_alignment="top")[:count]):
        with place:
            columns.append(_picker(index, labels, on_dose))
    if all(column.checkpoint.is_base for column in columns):
        _base_picker()
    else:
        with suppress(WorkbenchError):
            offer_missing(model_of(tuple(columns)).name)
    if len(set(columns)) < len(columns):
        st.caption(":material/info: The same model at the same strength is chosen twice: its answers are the same.")
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


def steer(columns: tuple[Column, ...], *, on_change: Callable[[], None] | None) -> None:
    """Choose the direction that these columns are steered by; nothing where they do not share a base model."""
    with suppress(WorkbenchError):
        runs = [column.checkpoint.run_id for column in columns if not column.checkpoint.is_base]
        steering_choice(model_of(columns).name, runs, on_change)


def model_of(columns: tuple[Column, ...]) -> ModelSpec:
    """The base model that all columns share. Raises RunError when they do not share one."""
    specs: dict[str, RunSpec] = {}
    for column in columns:
        checkpoint = column.checkpoint
        if not checkpoint.is_base:
            specs[checkpoint.run_id] = open_run(settings().runs, checkpoint.run_id).spec()
    models = {_model_words(spec.model) for spec in specs.values()}
    for kind, said in zip(("models", "number formats", "chat templates"), zip(*models, strict=True), strict=False):
        if len(names := set(said)) > 1:
            raise RunError(
                f"These runs were trained on different {kind} ({', '.join(sorted(names))}): choose runs of one model."
            )
    if specs:
        return next(iter(specs.values())).model
    return ModelSpec(name=str(st.session_state.get(BASE_MODEL) or BUNDLED_MODEL))


def _model_words(model: ModelSpec) -> tuple[str, ...]:
    return model.name, model.dtype, model.chat_template


def has_probe(columns: tuple[Column, ...]) -> bool:
    """Whether each circuit-broken model that is asked has harmfulness probes, and there is one."""
    asked = [column.checkpoint for column in columns if not column.checkpoint.is_base]
    try:
        for checkpoint in asked:
            need_probes(open_run(settings().runs, checkpoint.run_id), settings(), checkpoint.step)
    except WorkbenchError:
        return False
    return bool(asked)


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
        strength_slider(index, on_dose)
        return Column(checkpoint="base", steering=steering_of(index))
    dose = st.slider(
        f"Adapter strength {index + 1}",
        0.0,
        MOST_DOSE,
        step=0.05,
        key=dose_key(index),
        on_change=on_dose,
        help="How much of the adapter's update is added: 0 none (the base model), 1 as trained. A change asks the last "
        "message again.",
    )
    strength_slider(index, on_dose)
    return Column(checkpoint=str(checkpoint), dose=dose, steering=steering_of(index))


def _say_unknown(labels: dict[str, str]) -> None:
    """A link may name a run that is gone or has nothing to ask yet: say it, and what is asked instead."""
    wanted = st.query_params.get(RUN)
    if not wanted or wanted in labels:
        return
    try:
        status = open_run(settings().runs, wanted.partition("@")[0]).record().status
        why = f"The run '{wanted}' ({status}) has no circuit-broken model to ask yet."
    except WorkbenchError:
        why = f"There is no run '{wanted}': it was deleted, or the address is wrong."
    st.warning(plain(f"{why} Choose a model below, or look at the list of runs."), icon=":material/link_off:")
    st.page_link(places()["runs"], label="Runs", icon=":material/monitoring:")


def _base_picker() -> None:
    """Which base model, where no run says it."""
    names = [BUNDLED_MODEL, *PACKAGED, *offered_assembled(settings().models)]
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
        help="Only base models are asked, so no run says which. A Hugging Face id or a folder may be written here."
        + unlisted_words(),
    )
    offer_missing(str(wanted))


def _is_ready(checkpoint: str) -> bool:
    """Whether it can be asked at once: a run that is prepared yet has nothing to ask."""
    found = parse_checkpoint(checkpoint)
    return model_is_here(checkpoint) and (found.is_base or has_weights(open_run(settings().runs, found.run_id)))


def _set_defaults(choices: list[Choice]) -> None:
    known = {choice.checkpoint for choice in choices}
    rest = [choice.checkpoint for choice in choices[1:]]
    newest = next(filter(_is_ready, rest), rest[0] if rest else "base")
    linked = st.query_params.get(RUN)
    st.session_state.setdefault(COUNT, 2 if len(choices) > 1 else 1)
    if linked in known and model_key(0) not in st.session_state:
        # Who comes by a link sees its run, whatever another page left in the columns that it did not draw.
        st.session_state[COUNT] = max(2, int(st.session_state[COUNT]))
        st.session_state[model_key(1)] = linked
    for index in range(MOST_COLUMNS):
        key = model_key(index)
        if st.session_state.get(key) not in known:
            taken = {st.session_state.get(model_key(before)) for before in range(index)}
            # A column that is added asks a model that is not asked yet, as long as there is one.
            free = next((choice.checkpoint for choice in choices if choice.checkpoint not in taken), newest)
            st.session_state[key] = "base" if index == 0 else newest if index == 1 else free
        # Said again, so that a column that is not drawn for a while keeps its choice.
        st.session_state[key] = st.session_state[key]
        st.session_state[dose_key(index)] = st.session_state.get(dose_key(index), 1.0)


def _add() -> None:
    st.session_state[COUNT] = min(MOST_COLUMNS, int(st.session_state[COUNT]) + 1)


def _remove() -> None:
    st.session_state[COUNT] = max(1, int(st.session_state[COUNT]) - 1)
