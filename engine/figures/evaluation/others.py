"""Other people's words as a table by author with the worst ones marked, a sentence, and a front with a line an author.

HTML for the page and the report. No Streamlit.
"""

from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go

from engine.figures.colours import run_colour
from engine.figures.drawing import blank_figure, legend_below
from engine.figures.evaluation.findings import TOO_FEW, from_to, harm_axis, refused_words
from engine.figures.evaluation.table import count_cell, percent, table, table_row
from engine.figures.labels import escaped
from engine.records.evaluation.attacks import ATTACKS
from engine.records.evaluation.counts import FEW, Count
from engine.records.evaluation.findings import OWN_SPLIT, AuthorFindings, Evaluation, OthersFindings
from engine.records.evaluation.worst import Worst, least_kept, worst_authors
from engine.records.others.authors import AUTHORS

HARMLESS = ("borderline", "benign")
ABOUT = (
    "Each author's requests were read out of a package and never trained on. Harmful: share that complied, "
    "circuit-broken, with the base model's beside it. Kept: of the harmless requests that the base model answers, "
    "those that the circuit-broken one answers too; what the base refuses is told apart. Settings are chosen by the "
    "worst author of the development half; own rows decide nothing here."
)


def others_html(evaluations: Sequence[Evaluation], names: Sequence[str]) -> str:
    """A table an evaluation, a row an author; '' where no evaluation asked other people's words."""
    found = [(one.others, name) for one, name in zip(evaluations, names, strict=True) if one.others]
    heads = [f"<h4>{escape(name)}</h4>" if len(found) > 1 else "" for _, name in found]
    return "".join(head + _table(one) for head, (one, _) in zip(heads, found, strict=True))


def others_finding(one: Evaluation) -> str:
    """One sentence: harm left and borderline kept on the worst author; '' where no other words were asked."""
    if one.others is None:
        return ""
    worst = worst_authors(one.others.authors)
    harm = [w for w in worst if w.name in ATTACKS]
    said = [f"{_harm(max(harm, key=lambda w: w.got_through))}"] if harm else []
    said += [_kept(w) for w in worst if w.name in HARMLESS]
    if not said:
        return f"Other people's words, {one.others.half} half: {TOO_FEW}."
    return f"Other people's words, worst author of the {one.others.half} half: {'; '.join(said)}."


def others_fronts(evaluations: Sequence[Evaluation], names: Sequence[str]) -> list[go.Figure]:
    """A figure for each half of the authors and number of rows that was asked, which are not compared with each other:
    a line an author, a point an evaluation: harmful requests answered, mean over the attacks that all have, against
    borderline requests kept, of the worst author; own rows against their own. Right and low is good. None of what has
    not both."""
    asked: dict[tuple[str, int], list[tuple[OthersFindings, str]]] = {}
    for one, name in zip(evaluations, names, strict=True):
        if one.others:
            asked.setdefault((one.others.half, one.others.rows), []).append((one.others, name))
    several = len(asked) > 1
    figures = (
        _front(of, f", {half} half, {f'{rows} rows' if rows else 'all rows'} a label" if several else "")
        for (half, rows), of in asked.items()
    )
    return [figure for figure in figures if figure is not None]


def _front(asked: Sequence[tuple[OthersFindings, str]], which: str) -> go.Figure | None:
    attacks = [
        name
        for name in ATTACKS
        if all(name in author.attacks for one, _ in asked for author in one.authors.values() if author.attacks)
    ]
    points: dict[str, list[tuple[float, float, str]]] = {}
    for one, name in asked:
        least = least_kept(one.authors, "borderline")
        kept = least.rerouted.rate if least else None
        for author, found in one.parts.items():
            harm, at = _mean_harm(found, attacks), _rate_kept(found) if author == OWN_SPLIT else kept
            if harm is not None and at is not None:
                points.setdefault(author, []).append((at, harm, name))
    if not points:
        return None
    figure = blank_figure(
        f"Harm left against borderline requests kept, a line an author{which}",
        harm_axis(attacks),
        x_title="borderline requests kept, % of those that the base answers (worst author's)",
        height=380,
    )
    for place, (author, unordered) in enumerate(points.items()):
        # Along the line, in whatever order they were chosen.
        of = sorted(unordered)
        figure.add_scatter(
            x=[100 * kept for kept, _, _ in of],
            y=[100 * harm for _, harm, _ in of],
            name=_title(author),
            mode="lines+markers",
            marker={"size": 12, "color": run_colour(place), "symbol": "diamond" if author == OWN_SPLIT else "circle"},
            line={"color": run_colour(place), "dash": "dot" if author == OWN_SPLIT else "solid"},
            text=[escaped(name) for _, _, name in of],
            cliponaxis=False,
            hovertemplate=f"{_title(author)}, %{{text}}<br>kept %{{x:.1f}} %, harmful %{{y:.1f}} %<extra></extra>",
        )
    figure.update_layout(hovermode="closest")
    legend_below(figure)
    figure.update_xaxes(range=[-2, 104], autorangeoptions=None)
    figure.update_yaxes(range=[-2, 104])
    return figure


def _table(found: OthersFindings) -> str:
    attacks = [name for name in ATTACKS if any(name in one.attacks for one in found.parts.values())]
    worst = {(one.name, one.author) for one in worst_authors(found.authors)}
    rows = []
    for author, one in found.parts.items():
        cells = []
        for name in attacks:
            result = one.attacks.get(name)
            change = f"base {percent(result.base.rate)}" if result else ""
            cells.append(_cell(result.rerouted if result else None, change, (name, author) in worst))
        for label in HARMLESS:
            kept = one.kept.get(label)  # type: ignore[call-overload]
            change = refused_words(kept) if kept else ""
            cells.append(_cell(kept.answered if kept else None, change, (label, author) in worst, kind="kept"))
        rows.append(table_row(_title(author), one.source, cells))
    heads = [f"Author, {escape(found.half)} half", *(escape(ATTACKS[name].title) for name in attacks)]
    return table([*heads, *(f"{label.capitalize()} kept" for label in HARMLESS)], [], rows)


def _cell(one: Count | None, change: str, is_worst: bool, *, kind: str = "") -> str:
    if one is None:
        return "<td>–</td>"
    mark = "<small><b>worst author</b></small>" if is_worst else ""
    return count_cell(one, change, kind).removesuffix("</td>") + f"{mark}</td>"


def _title(author: str) -> str:
    return AUTHORS[author].title if author in AUTHORS else author.capitalize()


def _harm(worst: Worst) -> str:
    rates = from_to(worst.base.rate, worst.rerouted.rate)
    few = f", {TOO_FEW}" if worst.rerouted.n < FEW else ""
    title = ATTACKS[worst.name].title.lower()
    return f"harmful requests answered {rates} ({_title(worst.author)}, {title}, n {worst.rerouted.n}{few})"


def _kept(worst: Worst) -> str:
    few = f", {TOO_FEW}" if worst.rerouted.n < FEW else ""
    return (
        f"{worst.name} kept {percent(worst.rerouted.rate)} of those that the base answers ({_title(worst.author)}, n "
        f"{worst.rerouted.n}{few})"
    )


def _mean_harm(found: AuthorFindings, attacks: Sequence[str]) -> float | None:
    rates = [found.attacks[name].rerouted.rate for name in attacks if name in found.attacks]
    known = [rate for rate in rates if rate is not None]
    return sum(known) / len(known) if known else None


def _rate_kept(found: AuthorFindings) -> float | None:
    kept = found.kept.get("borderline")
    return kept.answered.rate if kept else None
