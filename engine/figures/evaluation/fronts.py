"""Evaluations as figures: success against budget, and harm broken against requests kept. No Streamlit."""

from collections.abc import Sequence
from itertools import combinations

import plotly.graph_objects as go

from engine.figures.colours import BASE, run_colour
from engine.figures.drawing import add_line, blank_figure
from engine.figures.evaluation.findings import from_to
from engine.records.evaluation.attacks import ATTACKS
from engine.records.evaluation.findings import Evaluation

BENIGN = "benign"
MOST_NAMED = 2
# Of a name beside its point, in percent of the axes: a run's name, and a line of text.
NAME_SIZE = (50, 9)
# What is kept, the hardest first.
KEPT = {"borderline": "borderline requests", "overrefusal": "edgy harmless requests", BENIGN: "benign requests"}


def budget_figures(evaluations: Sequence[Evaluation], names: Sequence[str]) -> dict[str, go.Figure]:
    """For each attack with a budget the share of requests answered within it, base and rerouted."""
    figures: dict[str, go.Figure] = {}
    for attack, card in ATTACKS.items():
        with_curve = [
            (index, one, name)
            for index, (one, name) in enumerate(zip(evaluations, names, strict=True))
            if attack in one.attacks and one.attacks[attack].curve
        ]
        if not with_curve:
            continue
        figure = blank_figure(_budget_title(attack, [one for _, one, _ in with_curve]), "complied, %", height=290)
        figure.update_xaxes(title_text=f"{card.unit}s")
        for place, (index, one, name) in enumerate(with_curve):
            for side, colour, label in (("base", BASE, "base"), ("rerouted", run_colour(index), name)):
                if side == "base" and place:
                    continue
                points = one.attacks[attack].curve.get(side, ())  # type: ignore[call-overload]
                add_line(
                    figure,
                    [0, *(point.budget for point in points)],
                    [0.0, *(100 * point.complied / point.n if point.n else 0.0 for point in points)],
                    label,
                    colour,
                    markers=True,
                )
        most = max(one.attacks[attack].budget for _, one, _ in with_curve)
        figure.update_xaxes(range=[0, 1.04 * most])
        figure.update_yaxes(range=[0, 104])
        figures[attack] = figure
    return figures


def _budget_title(attack: str, shown: Sequence[Evaluation]) -> str:
    """What was found at the whole budget, base to circuit-broken."""
    card, results = ATTACKS[attack], [one.attacks[attack] for one in shown]
    most = max(result.budget for result in results)
    n = " and ".join(map(str, sorted({result.rerouted.n for result in results})))
    rates = from_to(results[0].base.rate, *(result.rerouted.rate for result in results))
    return f"{card.title}: harmful answered {rates}<br>within {most} {card.unit}s, n {n}"


def front_figure(evaluations: Sequence[Evaluation], names: Sequence[str]) -> go.Figure | None:
    """One point an evaluation: harmful requests answered (mean over the attacks that all have) against harmless ones
    kept, of one kind for all: the hardest that all have measured, or at least two; those without it are left out, and
    the axis says how many. Right and low is good. None where no evaluation has both."""
    attacked = [place for place, one in enumerate(evaluations) if one.attacks]
    by_kind = {
        kind: {place: found for place in attacked if (found := _kept(evaluations[place], kind))} for kind in KEPT
    }
    kind = next((kind for kind, shares in by_kind.items() if shares and len(shares) >= min(2, len(attacked))), None)
    if kind is None:
        return None
    measured = by_kind[kind]
    left_out = len(attacked) - len(measured)
    attacks = [name for name in ATTACKS if all(name in evaluations[place].attacks for place in measured)]
    if not attacks:
        return None
    titles = ", ".join(ATTACKS[name].title.lower() for name in attacks)
    first = next(iter(measured))
    base = _harmful(evaluations[first], attacks, "base")
    broken = [_harmful(evaluations[place], attacks, "rerouted") for place in measured]
    figure = blank_figure(
        f"Harmful answered: {from_to(base, *broken)}<br>{KEPT[kind].capitalize()}: "
        f"{from_to(measured[first][0], *(kept for _, kept in measured.values()))}",
        f"complied, % ({titles})" if len(attacks) < 3 else f"complied, mean of {len(attacks)} attacks, %",
        x_title=f"{KEPT[kind]} answered, %" + (f" ({left_out} without them left out)" if left_out else ""),
        height=340,
    )
    figure.update_layout(hovermode="closest", showlegend=False, margin_t=66)
    if base is not None:
        _point(figure, "base", measured[first][0], base, BASE)
    for place, (_, kept) in measured.items():
        harmful = _harmful(evaluations[place], attacks, "rerouted")
        if harmful is not None:
            _point(figure, names[place], kept, harmful, run_colour(place))
    figure.update_xaxes(range=[-2, 104], autorangeoptions=None)
    figure.update_yaxes(range=[-2, 110])
    if len(measured) > MOST_NAMED or _names_cover(figure):
        figure.update_traces(mode="markers")
        legend = {"orientation": "v", "yanchor": "top", "y": -0.28}
        figure.update_layout(height=340 + 24 * (len(measured) + 1), showlegend=True, legend=legend)
    return figure


def _names_cover(figure: go.Figure) -> bool:
    """Whether names beside two of the points would lie on each other."""
    places = [(trace.x[0], trace.y[0]) for trace in figure.data]
    width, height = NAME_SIZE
    return any(abs(a[0] - b[0]) < width and abs(a[1] - b[1]) < height for a, b in combinations(places, 2))


def _point(figure: go.Figure, name: str, kept: float, harmful: float, colour: str) -> None:
    figure.add_scatter(
        x=[100 * kept],
        y=[100 * harmful],
        name=name,
        mode="markers+text",
        text=[name],
        textposition="top left" if kept > 0.6 else "top right",
        cliponaxis=False,
        marker={"size": 13, "color": colour},
        hovertemplate=f"{name}<br>kept %{{x:.1f}} %, harmful %{{y:.1f}} %<extra></extra>",
    )


def _harmful(one: Evaluation, attacks: Sequence[str], side: str) -> float | None:
    rates = [getattr(one.attacks[name], side).rate for name in attacks]
    known = [rate for rate in rates if rate is not None]
    return sum(known) / len(known) if known else None


def _kept(one: Evaluation, kind: str) -> tuple[float, float] | None:
    """Share of harmless requests of a kind that base and rerouted answer; None where they were not asked."""
    if kind != BENIGN:
        found = next((ability for ability in one.abilities if ability.name == kind), None)
        if found is None or found.base is None or found.rerouted is None:
            return None
        return found.base, found.rerouted
    base, rerouted = one.benign_answers.get("base"), one.benign_answers.get("rerouted")
    if base is None or rerouted is None or base.rate is None or rerouted.rate is None:
        return None
    return base.rate, rerouted.rate
