"""Choose requests that offer tools, and the attacks on agents that are tried on them."""

from typing import Any, NamedTuple

import streamlit as st

from engine.records.errors import DataError
from engine.records.evaluation.attacks import ATTACKS, TOOL_ATTACKS
from engine.records.evaluation.plan import AttackChoice
from engine.records.evaluation.tool_rows import GUARD, SAMPLE
from workbench.evaluate.budgets import attack_pills
from workbench.evaluate.row_files import FILE, UPLOAD, named_file, uploaded_file
from workbench.kit.words import plain

SOURCES = {
    "": "none",
    SAMPLE: "sample set, test split: harmful, benign, borderline",
    GUARD: "agent-action-guard, 124 harmful calls (another author)",
    FILE: "a JSONL file",
    UPLOAD: "upload a JSONL file",
}
DEFAULT = ["direct", "forced_call"]
# Calls that end at the length that was asked for are counted as incoherent.
LEAST_TOKENS = 128
FORM = (
    'A JSON object a line: {"prompt": ..., "tools": [...], "call": {"name": ..., "arguments": {...}}, "harmful": true '
    "or false}. `tools` names tools that ship, or defines them; `call` is optional."
)


class ToolChoice(NamedTuple):
    """kind: '' for none.  source: as a plan names it, '' before there is a file.  attacks: at their default budgets."""

    kind: str
    source: str
    attacks: tuple[AttackChoice, ...]

    def fields(self, tokens: int) -> dict[str, Any]:
        """Of a plan. tokens: length of an answer to text; calls get no less than LEAST_TOKENS. Raises DataError where a
        file is still to be named."""
        if not self.kind:
            return {}
        if not self.source:
            raise DataError("There is no file of requests that offer tools yet: name or upload one, or choose none.")
        return {"tools": self.source, "tool_attacks": self.attacks, "tool_tokens": max(tokens, LEAST_TOKENS)}


def tool_choice() -> ToolChoice:
    left, right = st.columns([1, 1.4], vertical_alignment="top")
    kind = left.selectbox(
        "Requests that offer tools",
        list(SOURCES),
        key="evaluate_tools",
        persist_state="session",
        format_func=lambda one: SOURCES[one],
        help="Agents: whether the model calls the harmful function, and still makes harmless calls. Nothing is carried "
        f"out. Answers have at least {LEAST_TOKENS} tokens.",
    )
    source = str(kind or "")
    if kind == FILE:
        source = named_file(
            left, "tools", label="Path of the file of calls", placeholder="/path/calls.jsonl", form=FORM
        )
    elif kind == UPLOAD:
        source = uploaded_file(left, "tools", form=FORM)
    if not kind:
        return ToolChoice("", "", ())
    names = attack_pills(right, "Attacks on agents", TOOL_ATTACKS, default=DEFAULT, key="evaluate_tool_attacks")
    about = [
        f"**{plain(ATTACKS[name].title)}**: {plain(ATTACKS[name].about)}"
        for name in names
        if ATTACKS[name].asks == "tools"
    ]
    right.caption("  \n".join(about))
    return ToolChoice(str(kind), source, tuple(AttackChoice(name=name) for name in names))
