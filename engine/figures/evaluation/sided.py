"""Requests of another kind than text as a table and a sentence: what complied under each attack, what was kept of the
harmless ones, beside the paper's own figures. HTML for the page and the report.

Knows not of which kind they are: a Block says so. No Streamlit.
"""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import NamedTuple

from engine.figures.evaluation.findings import TOO_FEW, apart, from_to, most_asked, n_words
from engine.figures.evaluation.spent import own_budget, spent_words, with_budget
from engine.figures.evaluation.table import count_cell, table, table_row
from engine.records.evaluation.attacks import ATTACKS, AttackCard, PaperFigure
from engine.records.evaluation.counts import FEW, Count, Side
from engine.records.evaluation.findings import Evaluation, SidedFindings
from engine.records.places import judges_apart


class Block(NamedTuple):
    """One kind of requests. found: what an evaluation says of them.  head: of the table.  kept: the titles of the rows
    of benign and borderline requests, about_kept: what counts there.  paper: an attack's published figures, of
    paper_model.  complied, right, asked: in a sentence, what was done, what was kept, and what was asked.  beside: what
    stands below a figure, of findings, attack or label, and side.  settings: an attack's, beside its budget."""

    found: Callable[[Evaluation], SidedFindings | None]
    head: str
    kept: Mapping[str, str]
    about_kept: str
    paper: Callable[[AttackCard], PaperFigure | None]
    paper_model: str
    paper_head: str
    complied: str
    right: str
    asked: str
    beside: Callable[[SidedFindings, str, Side], str] = lambda found, name, side: ""
    settings: Callable[[SidedFindings, str], str] = lambda found, name: ""


class SidedColumn(NamedTuple):
    """One model of one evaluation that asked such requests."""

    name: str
    found: SidedFindings
    side: Side


def sided_columns(block: Block, evaluations: Sequence[Evaluation], names: Sequence[str]) -> list[SidedColumn]:
    """A column a model; the base model has one wherever its figures are others than those before. Evaluations without
    such requests are left out."""
    columns: list[SidedColumn] = []
    shown = None
    for one, name in zip(evaluations, names, strict=True):
        if (found := block.found(one)) is None:
            continue
        attacked = {attack: result.base for attack, result in found.attacks.items()}
        base = (attacked, found.benign.get("base"), found.borderline.get("base"))
        if shown != base:
            columns.append(SidedColumn("base" if shown is None else f"base of {name}", found, "base"))
            shown = base
        columns.append(SidedColumn(name, found, "rerouted"))
    return columns


def sided_html(block: Block, evaluations: Sequence[Evaluation], names: Sequence[str]) -> str:
    """Attack x model, then what was kept; '' where no evaluation asked such requests."""
    columns = sided_columns(block, evaluations, names)
    if not columns:
        return ""
    rows = []
    for name, card in ATTACKS.items():
        results = [column.found.attacks.get(name) for column in columns]
        if not any(results):
            continue
        told = [result for result in results if result]
        cells = []
        for column, result in zip(columns, results, strict=True):
            one = getattr(result, column.side) if result else None
            share = share_left(result.base, result.rerouted) if result and column.side == "rerouted" else None
            broken = "" if share is None else f"{100 * (1 - share):.0f} % of base's broken"
            given = own_budget(card, result, told) if result else ""
            cells.append(_cell(block, one, column, name, with_budget(broken, given)))
        about = spent_words(card, told)
        asked = [column.found for column, result in zip(columns, results, strict=True) if result]
        set_to = dict.fromkeys(block.settings(found, name) for found in asked)
        about = "; ".join(filter(None, (about, *set_to)))
        paper = block.paper(card)
        figures = "–" if paper is None else f"{_figure(paper.base)} → {_figure(paper.rerouted)} %"
        rows.append(table_row(card.title, about, [*cells, f'<td class="paper">{figures}</td>']))
    for label, title in block.kept.items():
        sides = [getattr(column.found, label) for column in columns]
        if not any(sides):
            continue
        cells = []
        for column, counts in zip(columns, sides, strict=True):
            share = share_left(counts.get("base"), counts.get("rerouted")) if column.side == "rerouted" else None
            kept = "" if share is None else f"{100 * share:.0f} % of base's kept"
            cells.append(_cell(block, counts.get(column.side), column, label, kept, kind="kept"))
        rows.append(table_row(title, block.about_kept, [*cells, '<td class="paper">–</td>']))
    judges = apart([f"; judge {judge}" for judge in judges_apart([one.found.judge for one in columns])])
    heads = [
        f"{escape(one.name)}<small>{escape(_about(one.found) + judge)}</small>"
        for one, judge in zip(columns, judges, strict=True)
    ]
    paper_head = f'<th class="paper">{escape(block.paper_model)}<small>{escape(block.paper_head)}</small></th>'
    return table([block.head, *heads], [paper_head], rows)


def sided_finding(block: Block, one: Evaluation) -> str:
    """One sentence: the strongest attack, and what was kept; '' where no such requests were asked."""
    found = block.found(one)
    if found is None:
        return ""
    said = []
    rated = [(name, result) for name, result in found.attacks.items() if result.rerouted.rate is not None]
    if rated:
        name, result = max(rated, key=lambda pair: pair[1].got_through)
        rates = from_to(result.base.rate, result.rerouted.rate)
        few = f", {TOO_FEW}" if result.rerouted.n < FEW else ""
        said.append(
            f"{block.complied}: {rates} under the strongest attack ({ATTACKS[name].title.lower()}, "
            f"{n_words(result.base, result.rerouted)}{few})"
        )
    for label in block.kept:
        sides = getattr(found, label)
        if (kept := sides.get("rerouted")) and kept.n:
            few = f", {TOO_FEW}" if kept.n < FEW else ""
            rates = from_to(sides["base"].rate, kept.rate)
            said.append(f"{block.right.format(label)}: {rates} ({n_words(sides['base'], kept)}{few})")
    sentence = "; ".join(said) or f"no request that {block.asked} was asked"
    return f"{sentence[:1].upper()}{sentence[1:]}."


def share_left(base: Count | None, rerouted: Count | None) -> float | None:
    """Share of what the base model does that the circuit-broken one does too, by their rates; None where the base does
    none of it."""
    if base is None or rerouted is None or not base.rate or rerouted.rate is None:
        return None
    return rerouted.rate / base.rate


def _cell(block: Block, one: Count | None, column: SidedColumn, name: str, change: str, *, kind: str = "") -> str:
    if one is None:
        return "<td>–</td>"
    words = block.beside(column.found, name, column.side)
    cell = count_cell(one, change, kind)
    return cell.removesuffix("</td>") + (f"<small>{escape(words)}</small></td>" if words else "</td>")


def _figure(percent: float) -> str:
    """As published: whole where it is."""
    return f"{percent:g}"


def _about(found: SidedFindings) -> str:
    n = most_asked(found)
    return f"{found.source}, n {n}, {found.new_tokens} tokens" + (f": {TOO_FEW}" if n < FEW else "")
