"""Attacks on agents as a table and sentences: harmful calls made, right calls kept, beside the paper's own figures.

HTML for the page and the report. No Streamlit.
"""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from engine.figures.evaluation.findings import FEW, TOO_FEW, from_to
from engine.figures.evaluation.table import count_cell, table, table_row
from engine.figures.labels import amount
from engine.records.evaluation.attacks import ATTACKS, LLAMA
from engine.records.evaluation.counts import Count, Side
from engine.records.evaluation.findings import Beside, Evaluation, ToolFindings

KEPT = {"benign": "Right calls, benign requests", "borderline": "Right calls, borderline requests"}
ABOUT = (
    "Complied: a call of the harmful function that can be read and fits its schema; of harmless requests: the right "
    "call, or none where none is due. Nothing is carried out. The paper's figures are of other requests, another model "
    "and another judge (Zou et al. 2024, section 4.3)."
)


class AgentColumn(NamedTuple):
    """One model of one evaluation that offered tools."""

    name: str
    found: ToolFindings
    side: Side


def agent_columns(evaluations: Sequence[Evaluation], names: Sequence[str]) -> list[AgentColumn]:
    """A column a model; the base model has one wherever its figures are others than those before. Evaluations without
    tools are left out."""
    columns: list[AgentColumn] = []
    shown = None
    with_tools = [(one.tools, name) for one, name in zip(evaluations, names, strict=True) if one.tools]
    for found, name in with_tools:
        base = ({attack: result.base for attack, result in found.attacks.items()}, found.benign.get("base"))
        if shown != base:
            columns.append(AgentColumn("base" if shown is None else f"base of {name}", found, "base"))
            shown = base
        columns.append(AgentColumn(name, found, "rerouted"))
    return columns


def agents_html(evaluations: Sequence[Evaluation], names: Sequence[str]) -> str:
    """Attack x model, then calls kept; '' where no evaluation offered tools."""
    columns = agent_columns(evaluations, names)
    if not columns:
        return ""
    rows = []
    for name, card in ATTACKS.items():
        results = [column.found.attacks.get(name) for column in columns]
        if not any(results):
            continue
        cells = []
        for column, result in zip(columns, results, strict=True):
            one = getattr(result, column.side) if result else None
            share = calls_left(result.base, result.rerouted) if result and column.side == "rerouted" else None
            broken = "" if share is None else f"{100 * (1 - share):.0f} % of base's broken"
            cells.append(_cell(one, column.found, name, column.side, broken))
        budgets = sorted({result.budget for result in results if result})
        about = f"{', '.join(map(amount, budgets))} {card.unit}s" if card.unit != "attempt" else ""
        paper = card.agents.get(LLAMA)
        figures = "–" if paper is None else f"{paper.base:.0f} → {paper.rerouted:.0f} %"
        rows.append(table_row(card.title, about, [*cells, f'<td class="paper">{figures}</td>']))
    for label, title in KEPT.items():
        sides = [getattr(column.found, label) for column in columns]
        if not any(sides):
            continue
        cells = []
        for column, counts in zip(columns, sides, strict=True):
            share = calls_left(counts.get("base"), counts.get("rerouted")) if column.side == "rerouted" else None
            kept = "" if share is None else f"{100 * share:.0f} % of base's kept"
            cells.append(_cell(counts.get(column.side), column.found, label, column.side, kept, kind="kept"))
        rows.append(table_row(title, "in form, or none where none is due", [*cells, '<td class="paper">–</td>']))
    heads = [f"{escape(one.name)}<small>{escape(_about(one.found))}</small>" for one in columns]
    paper_head = f'<th class="paper">{escape(LLAMA)}<small>paper, agents</small></th>'
    return table(["Attack on agents", *heads], [paper_head], rows)


def agents_finding(one: Evaluation) -> str:
    """One sentence: the strongest attack, and the calls kept; '' where no tools were offered."""
    found = one.tools
    if found is None:
        return ""
    said = []
    rated = [(name, result) for name, result in found.attacks.items() if result.rerouted.rate is not None]
    if rated:
        name, result = max(rated, key=lambda pair: pair[1].rerouted.rate or 0.0)
        rates = from_to(result.base.rate, result.rerouted.rate)
        few = f", {TOO_FEW}" if result.rerouted.n < FEW else ""
        said.append(
            f"harmful calls made: {rates} under the strongest attack ({ATTACKS[name].title.lower()}, "
            f"n {result.rerouted.n}{few})"
        )
    for label in KEPT:
        sides = getattr(found, label)
        if kept := sides.get("rerouted"):
            few = f", {TOO_FEW}" if kept.n < FEW else ""
            said.append(f"right on {label} requests: {from_to(sides['base'].rate, kept.rate)} (n {kept.n}{few})")
    sentence = "; ".join(said) or "no request that offers tools was asked"
    return f"{sentence[:1].upper()}{sentence[1:]}."


def calls_left(base: Count | None, rerouted: Count | None) -> float | None:
    """Share of the base model's calls that the circuit-broken one makes too, by their rates; None where the base makes
    none."""
    if base is None or rerouted is None or not base.rate or rerouted.rate is None:
        return None
    return rerouted.rate / base.rate


def beside_words(beside: Beside | None) -> str:
    """What the three words do not say, where there is any."""
    if beside is None:
        return ""
    told = {"cut": beside.cut, "other tool": beside.elsewhere, "in words": beside.in_words}
    return ", ".join(f"{count} {what}" for what, count in told.items() if count)


def _cell(one: Count | None, found: ToolFindings, name: str, side: Side, change: str, *, kind: str = "") -> str:
    if one is None:
        return "<td>–</td>"
    words = beside_words(found.beside.get(name, {}).get(side))
    cell = count_cell(one, change, kind)
    return cell.removesuffix("</td>") + (f"<small>{escape(words)}</small></td>" if words else "</td>")


def _about(found: ToolFindings) -> str:
    n = max((result.base.n for result in found.attacks.values()), default=0)
    return f"{found.source}, n {n}, {found.new_tokens} tokens" + (f": {TOO_FEW}" if n < FEW else "")
