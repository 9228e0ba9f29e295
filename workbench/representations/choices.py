"""Widgets that several views of a capture share: block, tokens, step. Each is in the URL. Knows a capture's index."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import streamlit as st
from streamlit.errors import StreamlitAPIException

from engine.records.captures.capture import Capture, TokenChoice
from workbench.kit.state import CHOICES

BLOCK = "block"
TOKENS = "tokens"
STEP = "step"
TAB = "tab"
MAPS = "Maps"

TOKEN_WORDS: dict[TokenChoice, str] = {
    "last_prompt": "last prompt token",
    "response_mean": "answer mean",
    "position": "chosen position",
    "every": "every token",
}


def choose_block(capture: Capture) -> int:
    blocks = list(capture.index.blocks)
    usual = next((block for block in capture.index.targets if block in blocks), blocks[len(blocks) // 2])
    if len(blocks) == 1:
        st.caption(f"Block {blocks[0]}, the only one captured")
        return blocks[0]
    with lasting(BLOCK, blocks):
        return st.select_slider(
            "Block",
            blocks,
            value=usual,
            key=BLOCK,
            bind="query-params",
            help="Counted from 0: the output of this decoder block. The paper's layer is one more.",
        )


def choose_tokens(capture: Capture) -> TokenChoice:
    offered = list(capture.index.tokens)
    usual: TokenChoice = "response_mean" if "response_mean" in offered else offered[0]
    words = {choice: _token_words(capture, choice) for choice in offered}
    with lasting(TOKENS, words):
        return st.segmented_control(
            "Tokens",
            offered,
            default=usual,
            required=True,
            key=TOKENS,
            bind="query-params",
            format_func=words.__getitem__,
            help="Which token's activation stands for a prompt.",
        )


def choose_step(steps: list[int], *, help_text: str) -> int:
    """One of the steps, the last one at first. Callers offer at least one."""
    if len(steps) == 1:
        st.caption(f"Step {steps[0]}, the only one captured")
        return steps[0]
    with lasting(STEP, steps):
        return st.select_slider("Step", steps, value=steps[-1], key=STEP, bind="query-params", help=help_text)


def open_map(*, block: int, step: int | None = None) -> None:
    """Let the next drawing show the map of this block (and step). For callbacks."""
    st.session_state[TAB] = MAPS
    _move(BLOCK, block, str(block))
    if step is not None:
        _move(STEP, step, str(step))


@contextmanager
def lasting(key: str, options: Collection[Any]) -> Iterator[None]:
    """Around a widget that is in the URL: what was chosen comes back after a visit to another tab, which takes the
    widget off the page and its value out of the URL. A value that is no option any more is forgotten.

    options: the values, or a mapping from each to its words in the URL.
    """
    chosen: dict[str, Any] = st.session_state.setdefault(CHOICES, {})
    if key in st.session_state and st.session_state[key] not in options:
        del st.session_state[key]
    if key not in st.session_state and key not in st.query_params and chosen.get(key) in options:
        _move(key, chosen[key], options[chosen[key]] if isinstance(options, Mapping) else str(chosen[key]))
    yield
    chosen[key] = st.session_state[key]


def _move(key: str, value: Any, words: str) -> None:
    """Set a widget from code. One that is not on the page yet takes its value from the session, but does not write it
    into the URL; one that is there does, and then nobody else may."""
    st.session_state[key] = value
    with suppress(StreamlitAPIException):
        st.query_params[key] = words


def _token_words(capture: Capture, choice: TokenChoice) -> str:
    return f"answer token {capture.index.position}" if choice == "position" else TOKEN_WORDS[choice]
