"""Evaluations as figures: success against budget, and harm broken against requests kept. No Streamlit."""

from collections.abc import Sequence

import plotly.graph_objects as go

from engine.records.attacks import ATTACKS
from engine.records.evaluations import Evaluation
from workbench.colours import BASE, run_colour
from workbench.drawing import add_line, blank_figure

KEPT = ("borderline", "overrefusal")


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
        figure = blank_figure(card.title, "complied, %", x_title=f"{card.unit}s", height=290)
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


def front_figure(evaluations: Sequence[Evaluation], names: Sequence[str]) -> go.Figure | None:
    """One point an evaluation: harmful requests answered (mean over its attacks) against harmless ones kept. Right and
    low is good. None where no evaluation has both."""
    points = [
        (name, harmful, *kept)
        for one, name in zip(evaluations, names, strict=True)
        if (harmful := _harmful(one, "rerouted")) is not None and (kept := _kept(one)) is not None
    ]
    if not points:
        return None
    figure = blank_figure(
        "Harm broken against requests kept", "harmful complied, %", x_title="harmless requests answered, %", height=340
    )
    figure.update_layout(hovermode="closest", showlegend=False)
    first = next(one for one in evaluations if _harmful(one, "rerouted") is not None and _kept(one) is not None)
    base_harmful, base_kept = _harmful(first, "base"), _kept(first)
    if base_harmful is not None and base_kept is not None:
        _point(figure, "base", base_kept[0], base_harmful, BASE)
    for index, (name, harmful, _, still) in enumerate(points):
        _point(figure, name, still, harmful, run_colour(index))
    figure.update_xaxes(range=[-2, 104], autorangeoptions=None)
    figure.update_yaxes(range=[-2, 110])
    return figure


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


def _harmful(one: Evaluation, side: str) -> float | None:
    rates = [getattr(result, side).rate for result in one.attacks.values()]
    known = [rate for rate in rates if rate is not None]
    return sum(known) / len(known) if known else None


def _kept(one: Evaluation) -> tuple[float, float] | None:
    """Share kept by base and rerouted: of borderline requests where they were asked, else of the benign ones."""
    for ability in one.abilities:
        if ability.name in KEPT and ability.base is not None and ability.rerouted is not None:
            return ability.base, ability.rerouted
    base, rerouted = one.benign_answers.get("base"), one.benign_answers.get("rerouted")
    if base is None or rerouted is None or base.rate is None or rerouted.rate is None:
        return None
    return base.rate, rerouted.rate
