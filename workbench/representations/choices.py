"""Widgets that several views of a capture share: block, tokens, step. Each is in the URL. Knows a capture's index."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import streamlit as st
from streamlit.errors import StreamlitAPIException

from engine.records.captures.capture import BASE, Averaged, Capture, TokenChoice
from workbench.kit.state import BLOCKS, CHOICES, LEFT
from workbench.kit.words import token_name
from workbench.representations.strip import block_strip, strip_words

BLOCK = "block"
TOKENS = "tokens"
STEP = "step"
BLOCKS_OF = "blocks_shown_of"
AVERAGED = "averaged"
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


def choose_block(capture: Capture) -> int:
    """One of the captured blocks: the run's target at first. Another run begins at its own target, or at the block that
    was chosen in it; a block that a link names is kept."""
    index = capture.index
    blocks = list(index.blocks)
    usual = next((block for block in index.targets if block in blocks), blocks[len(blocks) // 2])
    _arrive(capture, blocks, usual)
    if len(blocks) == 1:
        st.caption(f"Block {blocks[0]}, the only one captured")
        return blocks[0]
    with lasting(BLOCK, blocks):
        block = st.select_slider(
            "Block",
            blocks,
            value=usual,
            key=BLOCK,
            bind="query-params",
            on_change=_remember_block,
            args=(capture,),
            help="Counted from 0: the output of this decoder block. The paper's layer is one more.",
        )
    with st.container(key="block_strip", gap=None):
        st.html(block_strip(blocks, index.targets, index.adapted))
        st.caption(strip_words(blocks, index.targets, index.adapted))
    return block


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


def choose_averaged(capture: Capture) -> Averaged | None:
    """Which tokens movement is a mean over, the same for harmful and benign prompts; None where the capture holds one
    measure alone, over other tokens for each."""
    offered = list(capture.index.averaged)
    if not offered:
        return None
    words = {choice: AVERAGED_WORDS[choice] for choice in offered}
    with lasting(AVERAGED, words):
        return st.segmented_control(
            "Averaged over",
            offered,
            default=offered[0],
            required=True,
            key=AVERAGED,
            bind="query-params",
            format_func=words.__getitem__,
            help="The same tokens of harmful, benign and borderline prompts. All tokens: all but the first, an "
            "attention sink.",
        )


def open_map(capture: Capture, *, block: int, step: int | None = None) -> None:
    """Let the next drawing show the map of this block (and step). For callbacks."""
    st.session_state[TAB] = MAPS
    _blocks()[_owner(capture)] = block
    st.session_state[BLOCKS_OF] = _owner(capture)
    st.session_state.pop(LEFT, None)
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


def _arrive(capture: Capture, blocks: list[int], usual: int) -> None:
    """When another run is looked at than before: forget the block of the run before."""
    owner, before = _owner(capture), st.session_state.get(BLOCKS_OF)
    st.session_state[BLOCKS_OF] = owner
    # The address still says the block of a run that was left by the list of runs; one that a link says is meant.
    left = st.session_state.pop(LEFT, None) == (capture.index.run_id or BASE)
    if before in (None, owner):
        return
    own = _blocks().get(owner, usual)
    if left or BLOCK not in st.query_params:
        own = own if own in blocks else usual
        _move(BLOCK, own, str(own))


def _remember_block(capture: Capture) -> None:
    _blocks()[_owner(capture)] = st.session_state[BLOCK]


def _blocks() -> dict[str, int]:
    """The block that was chosen in each run."""
    return st.session_state.setdefault(BLOCKS, {})


def _owner(capture: Capture) -> str:
    """Whose blocks they are: a run's, or of a capture of a base model alone."""
    return capture.index.run_id or capture.index.key


def _token_words(capture: Capture, choice: TokenChoice) -> str:
    return token_name(capture.index.position) if choice == "position" else TOKEN_WORDS[choice]
