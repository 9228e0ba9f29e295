"""How the trip is shown: which block, which threshold, tint or none."""

import streamlit as st

from engine.records.blocks import parse_blocks
from engine.records.chats.chat import Exchange
from engine.records.chats.replies import Reply
from engine.records.errors import WorkbenchError
from engine.records.runs import open_run
from workbench.kit.state import settings

TINT, BLOCK, THRESHOLD, TARGET = "chat_tint", "chat_block", "chat_threshold", "chat_block_target"


def trip_settings(exchange: Exchange, reply: Reply) -> tuple[int | None, float]:
    """The block whose cosine tints the tokens (None: no tint), and the threshold of the mark."""
    count = len(reply.trips[0].cosines) if reply.trips else 0
    for key, value in {TINT: True, THRESHOLD: 0.5}.items():
        st.session_state[key] = st.session_state.get(key, value)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium", key="chat_trip"):
        shown = st.toggle(
            "Tint by cosine",
            key=TINT,
            help="Each token's ground says how far the breaker turned the model's activations while it read the "
            "text: base against rerouted activations of the same text, standardised. Pale: 1, nothing moved. Strong: 0 "
            "or less.",
        )
        if BLOCK in st.session_state:
            # Said again, so that it is kept while nothing is measured and the slider is not drawn.
            st.session_state[BLOCK] = st.session_state[BLOCK]
        if not count:
            return None, float(st.session_state[THRESHOLD])
        target = _target(exchange, count)
        # Another run's breaker acts elsewhere.
        is_another = st.session_state.get(TARGET, (target, count)) != (target, count)
        if is_another or not 0 <= st.session_state.get(BLOCK, -1) < count:
            st.session_state[BLOCK] = target
        st.session_state[TARGET] = (target, count)
        # Of one block alone a slider has no ends.
        if count > 1:
            st.slider(
                "Block",
                0,
                count - 1,
                key=BLOCK,
                width=260,
                help="At first the run's first target block, of several runs the last of these. Below the adapted "
                "blocks nothing can move.",
            )
        st.slider(
            "Trip threshold",
            0.0,
            1.0,
            step=0.05,
            key=THRESHOLD,
            width=220,
            help="The first token whose cosine lies below is marked.",
        )
    return (int(st.session_state[BLOCK]) if shown else None), float(st.session_state[THRESHOLD])


def _target(exchange: Exchange, count: int) -> int:
    """The first target block of the run that is asked. Of several runs the last of these: what another one turned
    before stays turned there, and before its own a run has moved nothing."""
    asked = [column.checkpoint.run_id for column in exchange.columns if not column.checkpoint.is_base]
    try:
        targets = [open_run(settings().runs, run_id).spec().blocks.targets for run_id in asked]
        return max(parse_blocks(blocks, count)[0] for blocks in targets)
    except (WorkbenchError, IndexError, ValueError):
        return count // 2
