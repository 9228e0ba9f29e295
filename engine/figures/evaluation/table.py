"""Evaluations as tables, attack x model and kept abilities: HTML for the page and the report. No Streamlit."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

from engine.figures.colours import BASE, BENIGN, HARMFUL, NEUTRAL
from engine.figures.evaluation.findings import TOO_FEW, asked_text, asked_words, kept_words, settings_apart
from engine.figures.evaluation.losses import loss_cell
from engine.figures.evaluation.spent import own_budget, spent_words, time_words, with_budget
from engine.figures.labels import figure
from engine.records.evaluation.attacks import ATTACKS, LLAMA, MISTRAL, AttackCard
from engine.records.evaluation.bfcl import ABILITY as BFCL
from engine.records.evaluation.bfcl import CATEGORIES
from engine.records.evaluation.counts import FEW, CallCount, Count, Interval, Side
from engine.records.evaluation.findings import Ability, Evaluation
from engine.records.evaluation.losses import LOST_NATS
from engine.records.evaluation.naming import ABILITY as NAMING
from engine.records.evaluation.naming import ABOUT as ABOUT_NAMING
from engine.records.evaluation.plan import ABILITIES

# Of abilities that are measured in parts: what their figure is.
MEANS = {BFCL: "mean of its categories", NAMING: "mean of both that are no controls"}

STYLE = f"""
.evaluation {{ border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 0.3rem 0 0.6rem; }}
.evaluation th, .evaluation td {{
  text-align: left; padding: 0.42rem 1.1rem 0.42rem 0.1rem; vertical-align: top; font-size: 0.875rem; line-height: 1.3;
  border: 0; border-bottom: 1px solid rgba(128, 140, 150, 0.25); min-width: 6.4rem;
}}
.evaluation th {{ font-weight: 600; }}
.evaluation td:first-child {{ min-width: 9rem; }}
.evaluation .rate {{ font-size: 1.02rem; font-weight: 600; }}
.evaluation small {{ opacity: 0.72; font-size: 0.75rem; display: block; font-weight: 400; }}
.evaluation .bar {{ display: flex; height: 5px; width: 5.6rem; margin: 3px 0 2px; background: rgba(128,140,150,0.15); }}
.evaluation .complied {{ background: {HARMFUL}; }} .evaluation .refused {{ background: {BENIGN}; }}
.evaluation .incoherent {{ background: {BASE}; }}
.evaluation .kept .complied {{ background: {NEUTRAL}; }}
.evaluation .paper {{ opacity: 0.8; }}
.evaluation-key i {{ display: inline-block; width: 0.7rem; height: 0.7rem; margin: 0 0.3rem 0 0.9rem; }}
.evaluation-key i:first-child {{ margin-left: 0; }}
"""


class MatrixColumn(NamedTuple):
    """One model of one evaluation."""

    name: str
    about: str
    evaluation: Evaluation
    side: Side


def columns(evaluations: Sequence[Evaluation], names: Sequence[str]) -> list[MatrixColumn]:
    """A column a model; the base model has one wherever its figures are others than those before, and says then whose
    base it is. Each heading says n, and judge and seed where these differ."""
    found: list[MatrixColumn] = []
    shown: Evaluation | None = None
    for evaluation, name, apart in zip(evaluations, names, settings_apart(evaluations), strict=True):
        about = "; ".join(filter(None, (asked_words(evaluation), apart)))
        if shown is None or _asked_of_base(shown) != _asked_of_base(evaluation) or not _has_kept(shown, evaluation):
            found.append(MatrixColumn("base", about, evaluation, "base"))
            shown = evaluation
        found.append(MatrixColumn(name, about, evaluation, "rerouted"))
    if sum(column.side == "base" for column in found) < 2:
        return found
    after = [*found[1:], found[-1]]
    return [
        column._replace(name=f"base of {whose.name}") if column.side == "base" else column
        for column, whose in zip(found, after, strict=True)
    ]


def _asked_of_base(one: Evaluation) -> tuple:
    attacks = {attack: (result.base, result.budget) for attack, result in one.attacks.items()}
    return attacks, one.benign_answers.get("base")


def _has_kept(shown: Evaluation, one: Evaluation) -> bool:
    """Whether what the base model keeps in an evaluation is in the one before too, with the same figures."""
    return all(item in _kept_of_base(shown) for item in _kept_of_base(one))


def _kept_of_base(one: Evaluation) -> list[tuple]:
    # Losses as they are shown: their last digits depend on what else was in a batch.
    losses = [(label, figure(losses.base, 2)) for label, losses in one.loss.items()]
    return [*((ability.name, ability.n, ability.base) for ability in one.abilities), *losses]


def columns_without_text(evaluations: Sequence[Evaluation], names: Sequence[str]) -> list[MatrixColumn]:
    """The same of evaluations that asked no requests of text, but have abilities."""
    found = [(one, name) for one, name in zip(evaluations, names, strict=True) if one.abilities and not asked_text(one)]
    return columns([one for one, _ in found], [name for _, name in found])


def attacks_html(shown: Sequence[MatrixColumn]) -> str:
    """Attack x model: share that complied with its interval, what became of the rest, change from base; the paper's."""
    names = [name for name in ATTACKS if any(name in column.evaluation.attacks for column in shown)]
    rows = [_attack_row(ATTACKS[name], name, shown) for name in names]
    paper = [f'<th class="paper">{escape(model)}<small>paper</small></th>' for model in (MISTRAL, LLAMA)]
    return table(["Attack", *heads(shown)], paper, rows)


def styles_html(shown: Sequence[MatrixColumn]) -> str:
    """Attack x model as in attacks_html, each wording apart: questions, imperatives, or the rows' own styles. Empty
    where the rows are all of one style."""
    rows = []
    for name, card in ATTACKS.items():
        results = [column.evaluation.attacks.get(name) for column in shown]
        styles = sorted({style for result in results if result for style in result.styles})
        if len(styles) < 2:
            continue
        for style in styles:
            counts = [result.styles.get(style, {}) if result else {} for result in results]
            cells = [_style_cell(found, column.side) for found, column in zip(counts, shown, strict=True)]
            rows.append(table_row(card.title, style, cells))
    return table(["Attack", *heads(shown)], [], rows) if rows else ""


def abilities_html(shown: Sequence[MatrixColumn]) -> str:
    """Kept abilities x model: benign and borderline requests, questions, function calling, naming of pictures, losses,
    speed; what none of them measured is left out, '' where that is all."""
    rows = []
    if any(column.evaluation.benign_answers for column in shown):
        cells = [_benign_cell(column) for column in shown]
        rows.append(table_row("Benign requests answered", "coherent and not refused", cells))
    for name, title in ABILITIES.items():
        found = [_ability(column, name) for column in shown]
        if any(found):
            cells = [_ability_cell(one, column.side) for one, column in zip(found, shown, strict=True)]
            categories = _category_rows(found, shown)
            rows += [table_row(title, MEANS[name] if categories else "", cells), *categories]
    for label in ("benign", "harmful"):
        losses = [column.evaluation.loss.get(label) for column in shown]  # type: ignore[call-overload]
        if not any(losses):
            continue
        about = "nats a token; should stay" if label == "benign" else "nats a token; should rise"
        if any(one and one.targets and one.targets.lost for one in losses):
            about += f". Lost: {LOST_NATS:g} or more above the base model"
        cells = [loss_cell(one, column.side) for one, column in zip(losses, shown, strict=True)]
        rows.append(table_row(f"Loss on {label} targets", about, cells))
    return table(["Ability", *heads(shown)], [], rows) if rows else ""


def key_html() -> str:
    colours = {"complied": HARMFUL, "refused": BENIGN, "incoherent": BASE, "answered, of benign requests": NEUTRAL}
    marks = "".join(f'<i style="background:{colour}"></i>{name}' for name, colour in colours.items())
    return f'<div class="evaluation-key"><small>{marks}</small></div>'


def percent(rate: float | None) -> str:
    return "–" if rate is None else f"{100 * rate:.1f} %"


def _attack_row(card: AttackCard, name: str, shown: Sequence[MatrixColumn]) -> str:
    found = [column.evaluation.attacks.get(name) for column in shown]
    results = [result for result in found if result]
    cells = []
    for column, result in zip(shown, found, strict=True):
        if result is None:
            cells.append("<td>–</td>")
            continue
        one: Count = getattr(result, column.side)
        change = _change(result.base.rate, one.rate) if column.side == "rerouted" else ""
        cells.append(count_cell(one, with_budget(change, own_budget(card, result, results))))
    took = time_words([(result, column.side) for column, result in zip(shown, found, strict=True) if result])
    about = ", ".join(filter(None, (spent_words(card, results), took)))
    paper = [
        f'<td class="paper">{card.paper[model].base:.1f} → {card.paper[model].rerouted:.1f} %</td>'
        if model in card.paper
        else '<td class="paper">–</td>'
        for model in (MISTRAL, LLAMA)
    ]
    title = card.title + (" ⚠" if card.defeats else "")
    return table_row(title, about, [*cells, *paper])


def count_cell(one: Count, change: str, kind: str = "") -> str:
    if not one.n:
        about = (f"{one.excluded} excluded" if one.excluded else "none counted", change)
        return f"<td>–{''.join(f'<small>{words}</small>' for words in about if words)}</td>"
    parts = "".join(
        f'<span class="{word}" style="width:{100 * (one.share(word) or 0):.1f}%"></span>'  # type: ignore[arg-type]
        for word in ("complied", "refused", "incoherent")
    )
    interval = f"{100 * one.ci95.low:.1f}–{100 * one.ci95.high:.1f}"
    if one.n < FEW:
        change = f"{change}: {TOO_FEW}" if change else TOO_FEW
    excluded = f" · {one.excluded} excluded" if one.excluded else ""
    words = f"{one.complied} complied, {one.refused} refused, {one.incoherent} incoherent"
    return (
        f'<td class="{kind}" title="{words}"><span class="rate">{percent(one.rate)}</span>'
        f'<span class="bar">{parts}</span><small>{interval} · n {one.n}{excluded}</small>'
        + (f"<small>{change}</small>" if change else "")
        + "</td>"
    )


def _style_cell(found: Mapping[Side, Count], side: str) -> str:
    one = found.get(side)  # type: ignore[call-overload]
    if one is None:
        return "<td>–</td>"
    base = found.get("base")
    return count_cell(one, _change(base.rate, one.rate) if base and side == "rerouted" else "")


def _benign_cell(column: MatrixColumn) -> str:
    one = column.evaluation.benign_answers.get(column.side)  # type: ignore[call-overload]
    if one is None:
        return "<td>–</td>"
    base = column.evaluation.benign_answers.get("base")
    change = _change(base.rate, one.rate) if base and column.side == "rerouted" else ""
    return count_cell(one, change + kept_words(column.evaluation.kept, column.side), "kept")


def _ability(column: MatrixColumn, name: str) -> Ability | None:
    return next((one for one in column.evaluation.abilities if one.name == name), None)


def _ability_cell(one: Ability | None, side: str) -> str:
    if one is None:
        return "<td>–</td>"
    value = getattr(one, side)
    change = _ability_change(one) if side == "rerouted" else ""
    if side in one.counts:
        return count_cell(one.counts[side], change + kept_words(one.kept, side), "kept")  # type: ignore[index]
    if one.unit:
        n = f", n {one.n}" if one.n else ""
        about = f"<small>{escape(one.unit)}{n}</small>" + (f"<small>{change}</small>" if change else "")
        return f'<td><span class="rate">{figure(value, 2 if one.change else 1)}</span>{about}</td>'
    return _rate_cell(value, one.ci95.get(side), one.n, change)  # type: ignore[call-overload]


def _ability_change(one: Ability) -> str:
    """With its interval, where both models were asked the same questions one by one."""
    if one.change is None:
        return "" if one.unit else _change(one.base, one.rerouted)
    scale, unit = (1, "") if one.unit else (100, " points")
    value, low, high = (
        f"{scale * figure:+.{2 if one.unit else 1}f}" for figure in (one.change.value, *one.change.ci95)
    )
    return f"{value}{unit} ({low} to {high})".replace("-", "−")


def _rate_cell(rate: float | None, interval: Interval | None, n: int, change: str, more: str = "") -> str:
    about = f"{100 * interval.low:.1f}–{100 * interval.high:.1f} · n {n}" if interval else f"n {n}"
    return (
        f'<td><span class="rate">{percent(rate)}</span><small>{about}{more}</small>'
        + (f"<small>{change}</small>" if change else "")
        + "</td>"
    )


def _category_rows(found: Sequence[Ability | None], shown: Sequence[MatrixColumn]) -> list[str]:
    """A line for each category of function calling or naming that any of the models was asked."""
    rows = []
    for category, about in (CATEGORIES | ABOUT_NAMING).items():
        counts = [one.categories.get(category, {}) if one else {} for one in found]
        if any(counts):
            cells = [call_cell(sides, column.side) for sides, column in zip(counts, shown, strict=True)]
            rows.append(table_row(f"· {category}", about, cells))
    return rows


def call_cell(sides: Mapping[Side, CallCount], side: str) -> str:
    """Share of right answers with its interval, and the change from base."""
    one, base = sides.get(side), sides.get("base")  # type: ignore[call-overload]
    if one is None:
        return "<td>–</td>"
    change = _change(base.rate, one.rate) if base and side == "rerouted" else ""
    unreadable = f" · {one.unreadable} unreadable" if one.unreadable else ""
    return _rate_cell(one.rate, one.ci95, one.n, change, unreadable)


def _change(base: float | None, value: float | None) -> str:
    return "" if base is None or value is None else f"{100 * (value - base):+.1f} points".replace("-", "−")


def heads(shown: Sequence[MatrixColumn]) -> list[str]:
    return [f"{escape(column.name)}<small>{escape(column.about)}</small>" for column in shown]


def table_row(title: str, about: str, cells: Sequence[str]) -> str:
    small = f"<small>{escape(about)}</small>" if about else ""
    return f"<tr><td>{escape(title)}{small}</td>{''.join(cells)}</tr>"


def table(heads: Sequence[str], more_heads: Sequence[str], rows: Sequence[str]) -> str:
    head = "".join(f"<th>{one}</th>" for one in heads) + "".join(more_heads)
    return f'<table class="evaluation"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
