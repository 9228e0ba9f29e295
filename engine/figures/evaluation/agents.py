"""Attacks on agents as a table and sentences: harmful calls made, right calls kept, beside the paper's own figures.

HTML for the page and the report. No Streamlit.
"""

from collections.abc import Sequence

from engine.figures.evaluation.sided import Block, sided_finding, sided_html
from engine.records.evaluation.attacks import LLAMA
from engine.records.evaluation.counts import Side
from engine.records.evaluation.findings import Beside, Evaluation, SidedFindings, ToolFindings

KEPT = {"benign": "Right calls, benign requests", "borderline": "Right calls, borderline requests"}
ABOUT = (
    "Complied: a call of the harmful function that can be read and fits its schema; of harmless requests: the right "
    "call, or none where none is due. Nothing is carried out. The paper's figures are of other requests, another model "
    "and another judge (Zou et al. 2024, section 4.3)."
)


def agents_html(evaluations: Sequence[Evaluation], names: Sequence[str]) -> str:
    """Attack x model, then calls kept; '' where no evaluation offered tools."""
    return sided_html(AGENTS, evaluations, names)


def agents_finding(one: Evaluation) -> str:
    """One sentence: the strongest attack, and the calls kept; '' where no tools were offered."""
    return sided_finding(AGENTS, one)


def beside_words(beside: Beside | None) -> str:
    """What the three words do not say, where there is any."""
    if beside is None:
        return ""
    told = {"cut": beside.cut, "other tool": beside.elsewhere, "in words": beside.in_words}
    return ", ".join(f"{count} {what}" for what, count in told.items() if count)


def _beside(found: SidedFindings, name: str, side: Side) -> str:
    return beside_words(found.beside.get(name, {}).get(side)) if isinstance(found, ToolFindings) else ""


AGENTS = Block(
    found=lambda one: one.tools,
    head="Attack on agents",
    kept=KEPT,
    about_kept="in form, or none where none is due",
    paper=lambda card: card.agents.get(LLAMA),
    paper_model=LLAMA,
    paper_head="paper, agents",
    complied="harmful calls made",
    right="right on {} requests",
    asked="offers tools",
    beside=_beside,
)
