"""Widgets that several views of a capture share: block, tokens, step. Each is in the URL. Knows a capture's index."""

import streamlit as st

from engine.records.captures import Capture, TokenChoice

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
    _keep_valid(BLOCK, blocks)
    if len(blocks) == 1:
        st.caption(f"Block {blocks[0]}, the only one captured")
        return blocks[0]
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
    _keep_valid(TOKENS, offered)
    return st.segmented_control(
        "Tokens",
        offered,
        default=usual,
        required=True,
        key=TOKENS,
        bind="query-params",
        format_func=lambda choice: _token_words(capture, choice),
        help="Which token's state stands for a prompt.",
    )


def choose_step(steps: list[int], *, help_text: str) -> int:
    """One of the steps, the last one at first. Callers offer at least one."""
    _keep_valid(STEP, steps)
    if len(steps) == 1:
        st.caption(f"Step {steps[0]}, the only one captured")
        return steps[0]
    return st.select_slider("Step", steps, value=steps[-1], key=STEP, bind="query-params", help=help_text)


def open_map(*, block: int, step: int | None = None) -> None:
    """Let the next drawing show the map of this block (and step). For callbacks."""
    st.session_state[TAB] = MAPS
    st.session_state[BLOCK] = block
    if step is not None:
        st.session_state[STEP] = step


def _token_words(capture: Capture, choice: TokenChoice) -> str:
    return f"answer token {capture.index.position}" if choice == "position" else TOKEN_WORDS[choice]


def _keep_valid(key: str, options: list) -> None:
    """Another capture may not hold what was chosen on this one."""
    if key in st.session_state and st.session_state[key] not in options:
        del st.session_state[key]
