"""Widgets that several views of a capture share: block, tokens, step. Each is in the URL. Knows a capture's index."""

from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import streamlit as st
from streamlit.errors import StreamlitAPIException

from engine.figures.labels import token_name
from engine.records.captures.capture import Averaged, Capture, TokenChoice
from workbench.kit.state import BLOCKS, CHOICES
from workbench.representations.opened import AVERAGED, BLOCK, TOKENS, opened, show
from workbench.representations.strip import block_strip, strip_words

STEP = "step"
TAB = "tab"
MAPS = "Maps"

TOKEN_WORDS: dict[TokenChoice, str] = {
    "last_prompt": "last prompt token",
    "response_mean": "answer mean",
    "position": "chosen position",
    "every": "every token",
}


AVERAGED_WORDS: dict[Averaged, str] = {
    "answer": "answer tokens",
    "all": "all tokens",
    "last_prompt": "last prompt token",
}


class Between(NamedTuple):
    """The options of a slider whose steps a browser adds up: no number is surely one of a list."""

    low: float
    high: float

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high


def choose_block(capture: Capture) -> int:
    """One of the captured blocks: one that a link names, or that was chosen in this run before, or the run's target.

    Each run has a slider of its own, with its block as the default. A block set from code on one slider for all runs
    reaches the browser once, and not at all where a second drawing follows at once: the browser would then show, and
    report, the block of the run before.
    """
    index = capture.index
    blocks = list(index.blocks)
    if len(blocks) == 1:
        st.caption(f"Block {blocks[0]}, the only one captured")
        return blocks[0]
    key = f"{BLOCK}_{_owner(capture)}"
    if key in st.session_state and st.session_state[key] not in blocks:
        del st.session_state[key]
    with st.container(key=BLOCK):
        block = st.select_slider(
            "Block",
            blocks,
            value=_first_block(capture, blocks),
            key=key,
            on_change=_remember_block,
            args=(key, capture),
            help="Counted from 0: the output of this decoder block. The paper's layer is one more.",
        )
    with st.container(key="block_strip", gap=None):
        st.html(block_strip(blocks, index.targets, index.adapted))
        st.caption(strip_words(blocks, index.targets, index.adapted))
    show(BLOCK, str(block))
    return block


def choose_tokens(capture: Capture) -> TokenChoice:
    offered = list(capture.index.tokens)
    usual: TokenChoice = "response_mean" if "response_mean" in offered else offered[0]
    words = {choice: _token_words(capture, choice) for choice in offered}
    return choose("Tokens", words, TOKENS, usual=usual, help_text="Which token's activation stands for a prompt.")


def choose_step(steps: list[int], *, help_text: str, key: str = STEP) -> int:
    """One of the steps, the last one at first. Callers offer at least one.

    key: another than STEP where a click leads to the map: its slider is then new there, and takes the step that the
    click set, which a slider that stood on the page already may lose to a second drawing.
    """
    if len(steps) == 1:
        st.caption(f"Step {steps[0]}, the only one captured")
        return steps[0]
    _stay_last(key, steps)
    with lasting(key, steps):
        return st.select_slider("Step", steps, value=steps[-1], key=key, bind="query-params", help=help_text)


def _stay_last(key: str, steps: list[int]) -> None:
    """A slider that stood at the last step stands there too when there are other steps: newer ones, another run's."""
    chosen: dict[str, Any] = st.session_state.setdefault(CHOICES, {})
    before, chosen[f"{key}_last"] = chosen.get(f"{key}_last"), steps[-1]
    if before not in (None, steps[-1]) and st.session_state.get(key, chosen.get(key)) == before:
        _move(key, steps[-1], str(steps[-1]))


def choose_averaged(capture: Capture) -> Averaged | None:
    """Which tokens movement is a mean over, the same for harmful and benign prompts; None where the capture holds one
    measure alone, over other tokens for each."""
    offered = list(capture.index.averaged)
    if not offered:
        return None
    words = {choice: AVERAGED_WORDS[choice] for choice in offered}
    help_text = (
        "The same tokens of harmful, benign and borderline prompts. All tokens: all but the first, an attention sink."
    )
    return choose("Averaged over", words, AVERAGED, usual=offered[0], help_text=help_text)


def choose(label: str, words: dict[Any, str], name: str, *, usual: Any, help_text: str | None = None) -> Any:
    """One of several side by side: what a link names by its words, what was chosen before, or the usual one.

    What was chosen comes back as the widget's default. A value that code sets on a widget reaches the browser once,
    and not at all where a second drawing follows at once: the usual one would then be shown and reported.
    """
    if name in st.session_state and st.session_state[name] not in words:
        del st.session_state[name]
    chosen: dict[str, Any] = st.session_state.setdefault(CHOICES, {})
    known = chosen.get(name) if chosen.get(name) in words else usual
    value = st.segmented_control(
        label,
        list(words),
        default=next((value for value, text in words.items() if text == opened(name)), known),
        required=True,
        key=name,
        format_func=words.__getitem__,
        help=help_text,
    )
    chosen[name] = value
    show(name, words[value] if value != usual else "")
    return value


def open_map(capture: Capture, *, block: int, step: int | None = None) -> None:
    """Let the next drawing show the map of this block (and step). For callbacks."""
    st.session_state[TAB] = MAPS
    _blocks()[_owner(capture)] = block
    show(BLOCK, str(block))
    if step is not None:
        _move(STEP, step, str(step))


@contextmanager
def lasting(key: str, options: Container[Any]) -> Iterator[None]:
    """Around a widget that is in the URL: what was chosen comes back after a visit to another tab, which takes the
    widget off the page and its value out of the URL. A value that is no option any more is forgotten.
    """
    chosen: dict[str, Any] = st.session_state.setdefault(CHOICES, {})
    if key in st.session_state and st.session_state[key] not in options:
        del st.session_state[key]
    if key not in st.session_state and key not in st.query_params and chosen.get(key) in options:
        _move(key, chosen[key], str(chosen[key]))
    yield
    chosen[key] = st.session_state[key]


def _move(key: str, value: Any, words: str) -> None:
    """Set a widget from code. One that is not on the page yet takes its value from the session, but does not write it
    into the URL; one that is there does, and then nobody else may."""
    st.session_state[key] = value
    with suppress(StreamlitAPIException):
        st.query_params[key] = words


def _first_block(capture: Capture, blocks: list[int]) -> int:
    linked = opened(BLOCK)
    if linked.isdecimal() and int(linked) in blocks:
        return int(linked)
    chosen = _blocks().get(_owner(capture))
    if chosen in blocks:
        return chosen
    return next((block for block in capture.index.targets if block in blocks), blocks[len(blocks) // 2])


def _remember_block(key: str, capture: Capture) -> None:
    _blocks()[_owner(capture)] = st.session_state[key]


def _blocks() -> dict[str, int]:
    """The block that was chosen in each run."""
    return st.session_state.setdefault(BLOCKS, {})


def _owner(capture: Capture) -> str:
    """Whose blocks they are: a run's, or of a capture of a base model alone."""
    return capture.index.run_id or capture.index.key


def _token_words(capture: Capture, choice: TokenChoice) -> str:
    return token_name(capture.index.position) if choice == "position" else TOKEN_WORDS[choice]
