"""Evaluations as figures: success against budget, and harm broken against requests kept. No Streamlit."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations

import plotly.graph_objects as go

from engine.figures.colours import BASE, run_colour
from engine.figures.drawing import add_line, blank_figure, legend_below
from engine.figures.evaluation.findings import from_several_to, harm_axis
from engine.figures.labels import escaped, in_hover
from engine.records.evaluation.attacks import ATTACKS
from engine.records.evaluation.counts import CurvePoint
from engine.records.evaluation.curves import measured_curves
from engine.records.evaluation.findings import AttackResult, Evaluation

Attacked = Mapping[str, AttackResult]
# The place of an evaluation, what an attack found in it, and its name.
Shown = tuple[int, AttackResult, str]
BENIGN = "benign"
MOST_NAMED = 2
# Of a name beside its point, in percent of the axes: a run's name, and a line of text.
NAME_SIZE = (50, 9)
# What is kept, the hardest first.
KEPT = {"borderline": "borderline requests", "overrefusal": "edgy harmless requests", BENIGN: "benign requests"}


def of_texts(one: Evaluation) -> Attacked:
    return one.attacks


def of_pictures(one: Evaluation) -> Attacked:
    return one.pictures.attacks if one.pictures else {}


# Units of which none spent means that nothing was asked.
TRIES = ("attempt", "template", "encoding", "sample")
# Budgets of which each one has its tick.
FEW = 8
# Names that stand in one line above a figure in a narrow window.
LEGEND_LETTERS = 24


def budget_figures(
    evaluations: Sequence[Evaluation], names: Sequence[str], *, asked: Callable[[Evaluation], Attacked] = of_texts
) -> dict[str, go.Figure]:
    """For each attack with a budget the share of requests answered within it, base and rerouted. asked: which
    requests."""
    figures: dict[str, go.Figure] = {}
    for attack, shown in _with_curves(evaluations, names, asked).items():
        figure = blank_figure(_budget_title(attack, [one for _, one, _ in shown]), "complied, %", height=290)
        for every, label, colour in _lines(attack, shown):
            if not (points := [point for point in every if point.n]):
                continue
            # Where no try was made nothing has complied. Other attacks begin at what a request does without them.
            start = [0] if ATTACKS[attack].unit in TRIES and points[0].budget else []
            budgets = [*start, *(point.budget for point in points)]
            shares = [100 * point.complied / point.n for point in points]
            add_line(figure, budgets, [*map(float, start), *shares], label, colour, markers=True)
        if not figure.data:
            continue
        _set_budgets(figure, attack, shown)
        _set_legend(figure)
        figure.update_yaxes(range=[0, 104])
        figures[attack] = figure
    return figures


def loss_figures(
    evaluations: Sequence[Evaluation], names: Sequence[str], *, asked: Callable[[Evaluation], Attacked] = of_pictures
) -> dict[str, go.Figure]:
    """For each attack that tells it the mean loss of its targets by what it has spent, base and rerouted: high is hard
    to attack."""
    figures: dict[str, go.Figure] = {}
    for attack, shown in _with_curves(evaluations, names, asked).items():
        lines = [(points, label, colour) for points, label, colour in _lines(attack, shown) if _losses(points)]
        if not lines:
            continue
        last = ", ".join(f"{label} {_losses(points)[-1]:.2f}" for points, label, _ in lines)
        title = f"{ATTACKS[attack].title}: loss of the targets<br>at the end {last}"
        figure = blank_figure(title, "nats a token", height=290)
        for points, label, colour in lines:
            budgets = [point.budget for point in points if point.loss is not None]
            add_line(figure, budgets, _losses(points), label, colour, markers=True)
        _set_budgets(figure, attack, shown)
        _set_legend(figure)
        figure.update_yaxes(rangemode="tozero")
        figures[attack] = figure
    return figures


def _with_curves(
    evaluations: Sequence[Evaluation], names: Sequence[str], asked: Callable[[Evaluation], Attacked]
) -> dict[str, list[Shown]]:
    """By attack, those that have a curve of it: their place, what it found, and their name."""
    found: dict[str, list[Shown]] = {}
    for attack in ATTACKS:
        shown = [
            (index, asked(one)[attack], name)
            for index, (one, name) in enumerate(zip(evaluations, names, strict=True))
            if attack in asked(one) and asked(one)[attack].curve
        ]
        if shown:
            found[attack] = shown
    return found


def _lines(attack: str, shown: Sequence[Shown]) -> Iterator[tuple[Sequence[CurvePoint], str, str]]:
    """Points, name and colour of each model; the base model wherever its points are others than those before, and says
    then whose base it is."""
    drawn: list[Sequence[CurvePoint]] = []
    for index, result, name in shown:
        curves = measured_curves(attack, result)
        base = curves.get("base", ())
        if base not in drawn:
            yield base, f"base of {escaped(name)}" if drawn else "base", BASE
            drawn.append(base)
        yield curves.get("rerouted", ()), escaped(name), run_colour(index)


def _losses(points: Sequence[CurvePoint]) -> list[float]:
    return [point.loss for point in points if point.loss is not None]


def _set_budgets(figure: go.Figure, attack: str, shown: Sequence[Shown]) -> None:
    most = max(result.budget for _, result, _ in shown)
    # Nothing is spent by halves.
    step = 1 if most <= FEW else None
    figure.update_xaxes(title_text=f"{ATTACKS[attack].unit}s", range=[0, 1.04 * most], dtick=step)


def _set_legend(figure: go.Figure) -> None:
    if sum(len(trace.name) for trace in figure.data) > LEGEND_LETTERS:
        legend_below(figure)


def _budget_title(attack: str, results: Sequence[AttackResult]) -> str:
    """What was found at the whole budget, base to circuit-broken."""
    card = ATTACKS[attack]
    budgets = " to ".join(map(str, dict.fromkeys(pick(result.budget for result in results) for pick in (min, max))))
    n = " and ".join(map(str, sorted({result.rerouted.n for result in results})))
    rates = from_several_to((result.base.rate for result in results), (result.rerouted.rate for result in results))
    return f"{card.title}: harmful answered {rates}<br>within {budgets} {card.unit}s, n {n}"


def front_figure(evaluations: Sequence[Evaluation], names: Sequence[str]) -> go.Figure | None:
    """One point an evaluation: harmful requests answered (mean over the attacks that all have) against harmless ones
    kept, of one kind for all: the hardest that all have measured, or at least two; those without it are left out, and
    the axis says how many. Right and low is good. None where no evaluation has both."""
    attacked = [place for place, one in enumerate(evaluations) if any(_is_judged(one, name) for name in one.attacks)]
    by_kind = {
        kind: {place: found for place in attacked if (found := _kept(evaluations[place], kind))} for kind in KEPT
    }
    kind = next((kind for kind, shares in by_kind.items() if shares and len(shares) >= min(2, len(attacked))), None)
    if kind is None:
        return None
    measured = by_kind[kind]
    left_out = len(attacked) - len(measured)
    attacks = [name for name in ATTACKS if all(_is_judged(evaluations[place], name) for place in measured)]
    if not attacks:
        return None
    bases: dict[tuple[float, float | None], str] = {}
    for place, (kept, _) in measured.items():
        bases.setdefault((kept, _harmful(evaluations[place], attacks, "base")), names[place])
    broken = [_harmful(evaluations[place], attacks, "rerouted") for place in measured]
    mean = f" (mean of {len(attacks)} attacks)" if len(attacks) > 1 else ""
    figure = blank_figure(
        f"Harmful answered{mean}: {from_several_to((harmful for _, harmful in bases), broken)}<br>"
        f"{KEPT[kind].capitalize()}: {from_several_to(*zip(*measured.values(), strict=True))}",
        harm_axis(attacks),
        x_title=f"{KEPT[kind]} answered, %" + (f" ({left_out} without them left out)" if left_out else ""),
        height=340,
    )
    figure.update_layout(hovermode="closest", showlegend=False, margin_t=66)
    for (kept, harmful), name in bases.items():
        if harmful is not None:
            _point(figure, "base" if len(bases) == 1 else f"base of {name}", kept, harmful, BASE)
    for place, (_, kept) in measured.items():
        harmful = _harmful(evaluations[place], attacks, "rerouted")
        if harmful is not None:
            _point(figure, names[place], kept, harmful, run_colour(place))
    figure.update_xaxes(range=[-2, 104], autorangeoptions=None)
    figure.update_yaxes(range=[-2, 110])
    if len(measured) > MOST_NAMED or _names_cover(figure):
        figure.update_traces(mode="markers")
        legend_below(figure)
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
        name=escaped(name),
        mode="markers+text",
        text=[escaped(name)],
        textposition="top left" if kept > 0.6 else "top right",
        cliponaxis=False,
        marker={"size": 13, "color": colour},
        hovertemplate=f"{in_hover(name)}<br>kept %{{x:.1f}} %, harmful %{{y:.1f}} %<extra></extra>",
    )


def _is_judged(one: Evaluation, attack: str) -> bool:
    """Whether it has a rate of both models: means over different attacks are not compared."""
    result = one.attacks.get(attack)
    return result is not None and bool(result.base.n and result.rerouted.n)


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
