"""Probe answers as they change over the steps: the base model beside the model of a chosen step."""

import json
from collections.abc import Sequence

import streamlit as st

from engine.records.events import ProbeAnswer, ProbeResult
from engine.records.versions import key_of
from workbench.kit.blur import blurred, harmful_text, reveal_button

NEWEST = -1


def probes(results: Sequence[ProbeResult]) -> None:
    if not results:
        st.info("Probe answers appear when the base model has answered the probe prompts.", icon=":material/forum:")
        return
    by_step = {result.step: result for result in results}
    steps = sorted(by_step)
    base = by_step[steps[0]]
    chosen = st.select_slider(
        "Step",
        [*steps, NEWEST],
        value=NEWEST,
        key="probe_step",
        format_func=lambda step: f"newest ({steps[-1]})" if step == NEWEST else str(step),
        help="Step 0 is the base model. 'newest' follows the run.",
    )
    result = by_step[steps[-1] if chosen == NEWEST else chosen]
    before = base.by_request
    for request, answer in sorted(result.by_request.items(), key=lambda one: one[1].label, reverse=True):
        # Whose text is revealed must not be said of another prompt, of this run or the next.
        name = f"probe_{key_of(json.dumps(request), length=12)}"
        with st.container(border=True, key=name):
            said = before[request].answer if request in before else ""
            _pair(answer, said, base.step, result.step, name=name)


def _pair(answer: ProbeAnswer, before: str, base_step: int, step: int, *, name: str) -> None:
    harmful = answer.label == "harmful"
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(answer.label, color="orange" if harmful else "blue")
        hidden = harmful and reveal_button(name, what="prompt and answers")
    with blurred(name, hidden=hidden):
        harmful_text(answer.prompt, hidden=hidden)
        left, right = st.columns(2, gap="medium")
        with left:
            st.caption("Base" if base_step == 0 else f"Step {base_step}")
            harmful_text(before or "(no answer)", hidden=hidden)
        with right:
            st.caption(f"Circuit-broken, step {step}" if step else "Base (step 0)")
            harmful_text(answer.answer or "(no answer)", hidden=hidden)
