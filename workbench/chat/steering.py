"""By what answers are steered: one direction for all columns, and a strength for each. On arrival the address says it,
then the session does, and the address is written all the while.
"""

from collections.abc import Callable, Mapping, Sequence

import streamlit as st

from engine.records.captures.capture import Capture, read_capture, run_captures
from engine.records.chats.asked import MOST_COLUMNS, MOST_STEERING, Column, Steering
from engine.records.errors import RunError, WorkbenchError
from engine.records.runs import list_runs
from workbench.chat import linked
from workbench.kit.state import settings
from workbench.kit.words import plain

# Keys of the session, and names in the address.
KIND, CAPTURE, BLOCK, STRENGTHS = "steer", "steer_capture", "steer_block", "strengths"
OFF = ""
KINDS: dict[str, str] = {OFF: "No steering", "difference": "Mean difference", "probe": "Linear probe"}
FIRST_STRENGTH = 1.0


def strength_key(index: int) -> str:
    return f"steer_strength_{index}"


def keep_steering() -> None:
    """Read the address on arrival, keep what is chosen while its widgets are not drawn, and write the address.

    A link that brings a message is an arrival too, and comes before the message is taken.
    """
    if KIND not in st.session_state or linked.brought():
        _arrive()
    for key in (KIND, CAPTURE, BLOCK, *map(strength_key, range(MOST_COLUMNS))):
        if key in st.session_state:
            st.session_state[key] = st.session_state[key]
    _write_address()


def forget_steering() -> None:
    """For pages that do not steer: what another page chose is not asked here."""
    st.session_state.pop(KIND, None)


def show_steering(columns: Sequence[Column]) -> None:
    """Set the choices to a chat's columns."""
    steered = [column.steering for column in columns if column.steering is not None]
    st.session_state[KIND] = steered[0].kind if steered else OFF
    for first in steered[:1]:
        st.session_state[CAPTURE] = _name(first.run_id, first.capture)
        st.session_state[BLOCK] = first.block
    for index, column in enumerate(columns):
        st.session_state[strength_key(index)] = column.steering.strength if column.steering else 0.0
    _write_address()


def steering_of(index: int) -> Steering | None:
    """What the choices say of a column; None where nothing is added to it."""
    chosen = st.session_state
    kind, strength = chosen.get(KIND, OFF), float(chosen.get(strength_key(index), FIRST_STRENGTH))
    if not kind or not strength or not chosen.get(CAPTURE) or chosen.get(BLOCK) is None:
        return None
    run_id, _, capture = str(chosen[CAPTURE]).rpartition("/")
    return Steering(run_id=run_id, capture=capture, block=chosen[BLOCK], kind=kind, strength=strength)


def strength_slider(index: int, on_change: Callable[[], None] | None) -> None:
    """A column's strength, where a direction is chosen."""
    key = strength_key(index)
    if not st.session_state.get(KIND) or not st.session_state.get(CAPTURE):
        return
    st.session_state[key] = float(st.session_state.get(key, FIRST_STRENGTH))
    st.slider(
        f"Steering {index + 1}",
        -MOST_STEERING,
        MOST_STEERING,
        step=0.25,
        key=key,
        format="%+.2f",
        on_change=on_change,
        help="How much of the direction is added at every token: 1 is the distance between the means of harmful and "
        "benign activations, below 0 leads away from harmful. The weights stay as they are.",
    )


def steering_choice(model: str, runs: Sequence[str], on_change: Callable[[], None] | None) -> None:
    """The direction that all columns are steered by. model: the base model's name.  runs: the runs that are asked."""
    chosen = KINDS[st.session_state.get(KIND, OFF)]
    label = "Steer" if not st.session_state.get(KIND) else f"Steered by: {chosen.lower()}"
    with st.popover(label, icon=":material/explore:", type="tertiary", key="chat_steering"):
        st.caption(
            "Adds a direction that tells harmful from benign activations to what one block gives out, for each model "
            "as strongly as its slider says. Directions are found in the base model's activations of a capture."
        )
        captures = _captures(model, runs)
        if not captures:
            if st.session_state.get(KIND):
                st.session_state[KIND] = OFF
                # The columns above were drawn with it.
                st.rerun()
            st.info(
                "No capture of this model is there yet: make one in Representations.", icon=":material/scatter_plot:"
            )
            return
        if _set_defaults(captures) and st.session_state[KIND]:
            # The columns above were drawn without them.
            st.rerun()
        st.selectbox("Direction", list(KINDS), key=KIND, format_func=KINDS.__getitem__, on_change=on_change)
        if not st.session_state[KIND]:
            return
        st.selectbox(
            "Capture",
            list(captures),
            key=CAPTURE,
            format_func=lambda name: _words(captures.get(name), name),
            on_change=_capture_changed,
            args=(captures, on_change),
        )
        blocks = list(captures[st.session_state[CAPTURE]].index.blocks)
        if len(blocks) == 1:
            st.caption(f"Block {blocks[0]}, the only one captured")
        else:
            st.select_slider("Block that is steered", blocks, key=BLOCK, on_change=on_change)


def _capture_changed(captures: Mapping[str, Capture], on_change: Callable[[], None] | None) -> None:
    """Of another capture the block is chosen first that it has: by it the answers are steered."""
    _set_block(captures)
    if on_change is not None:
        on_change()


def steering_words(steering: Steering) -> str:
    """'steered +1.5 at block 19', with the kind where it is a probe's."""
    kind = " by a probe" if steering.kind == "probe" else ""
    return f"steered {steering.strength:+g}{kind} at block {steering.block}"


def capture_words(steering: Steering) -> str:
    """'the capture made of run 20260101-000000-abcdef'."""
    return f"the capture {steering.capture} of {_whose(steering.run_id)}"


def _arrive() -> None:
    """Take what a link says; what it says in another form is passed over, since a link may be mistyped."""
    told = st.query_params
    kind = told.get(KIND, OFF)
    st.session_state[KIND] = kind if kind in KINDS else OFF
    if told.get(CAPTURE):
        st.session_state[CAPTURE] = told[CAPTURE]
    if told.get(BLOCK, "").isdecimal():
        st.session_state[BLOCK] = int(told[BLOCK])
    for index, text in enumerate(told.get(STRENGTHS, "").split(",")[:MOST_COLUMNS]):
        try:
            strength = float(text)
        except ValueError:
            continue
        if abs(strength) <= MOST_STEERING:
            st.session_state[strength_key(index)] = strength


def _write_address() -> None:
    chosen = st.session_state
    wanted: dict[str, str] = {}
    if chosen.get(KIND):
        strengths = [chosen[key] for index in range(MOST_COLUMNS) if (key := strength_key(index)) in chosen]
        wanted = {
            KIND: chosen[KIND],
            CAPTURE: str(chosen.get(CAPTURE, "")),
            BLOCK: str(chosen.get(BLOCK, "")),
            STRENGTHS: ",".join(f"{strength:g}" for strength in strengths),
        }
    for name in (KIND, CAPTURE, BLOCK, STRENGTHS):
        if not wanted.get(name):
            st.query_params.pop(name, None)
        elif st.query_params.get(name) != wanted[name]:
            st.query_params[name] = wanted[name]


def _set_defaults(captures: dict[str, Capture]) -> bool:
    """Choose what is not chosen yet, or is there no more, and say whether anything was."""
    before = st.session_state.get(CAPTURE), st.session_state.get(BLOCK)
    if before[0] not in captures:
        if before[0]:
            st.toast(plain(f"There is no capture {before[0]} of this model: answers are steered by another one."))
        st.session_state[CAPTURE] = next(iter(captures))
    _set_block(captures)
    return before != (st.session_state[CAPTURE], st.session_state[BLOCK])


def _set_block(captures: Mapping[str, Capture]) -> None:
    """The usual block of the chosen capture, where it lacks the one that was chosen."""
    index = captures[st.session_state[CAPTURE]].index
    if st.session_state.get(BLOCK) not in index.blocks:
        usual = next((block for block in index.targets if block in index.blocks), index.blocks[len(index.blocks) // 2])
        st.session_state[BLOCK] = usual


def _captures(model: str, runs: Sequence[str]) -> dict[str, Capture]:
    """Captures of this base model by name: of the runs that are asked, of those that ship, and of the model alone."""
    found: list[Capture] = []
    shipped = [run.id for run in list_runs(settings().runs) if run.read_only]
    for run_id in dict.fromkeys([*runs, *shipped]):
        try:
            found += run_captures(settings(), run_id)
        except WorkbenchError:
            continue
    for file in sorted((settings().cache / "captures").glob("*/capture.json")):
        try:
            capture = read_capture(file.parent)
        except RunError:
            continue
        if capture is not None and not capture.index.run_id:
            found.append(capture)
    usable = [one for one in found if one.index.model == model and set(one.index.tokens) != {"every"}]
    return {_name(one.index.run_id, one.index.key): one for one in usable}


def _name(run_id: str, key: str) -> str:
    return f"{run_id}/{key}" if run_id else key


def _words(capture: Capture | None, name: str) -> str:
    if capture is None:
        return name
    index = capture.index
    where = _whose(index.run_id)
    return f"{len(index.prompts)} prompts, {len(index.blocks)} blocks, of {where} ({index.key})"


def _whose(run_id: str) -> str:
    return f"run {run_id}" if run_id else "the base model alone"
