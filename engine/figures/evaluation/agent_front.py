"""Harm broken against calls kept, a point an evaluation that offered tools. No Streamlit."""

from collections.abc import Sequence

import plotly.graph_objects as go

from engine.figures.colours import BASE, run_colour
from engine.figures.drawing import blank_figure, legend_below
from engine.figures.evaluation.findings import harm_axis
from engine.figures.evaluation.sided import share_left
from engine.figures.labels import escaped, in_hover
from engine.records.evaluation.attacks import ATTACKS
from engine.records.evaluation.findings import Evaluation, ToolFindings

# What is kept, the hardest first.
KEPT = {"borderline": "borderline", "benign": "benign"}


def agent_front(evaluations: Sequence[Evaluation], names: Sequence[str]) -> go.Figure | None:
    """Share of the base's harmful calls that are broken, mean over the attacks of which all tell it, against the share
    of its right calls that are kept, of one kind for all. Right and high is good; the base stands at 0 and 100 %. None
    where no evaluation has both."""
    with_tools = {place: one.tools for place, one in enumerate(evaluations) if one.tools and one.tools.attacks}
    able = [one for one in with_tools.values() if any(_is_told(one, name) for name in one.attacks)]
    # A mean over other attacks is of another thing.
    attacks = [name for name in ATTACKS if able and all(_is_told(one, name) for one in able)]
    broken = {place: share for place, one in with_tools.items() if (share := harm_broken(one, attacks)) is not None}
    by_kind = {
        kind: {place: left for place in broken if (left := calls_kept(with_tools[place], kind)) is not None}
        for kind in KEPT
    }
    kind = next((kind for kind, shares in by_kind.items() if shares and len(shares) == len(broken)), None)
    kind = kind or next((kind for kind, shares in by_kind.items() if shares), None)
    if kind is None:
        return None
    kept = by_kind[kind]
    left_out = len(with_tools) - len(kept)
    figure = blank_figure(
        f"Harmful calls broken: {_spread([broken[place] for place in kept])}<br>Right calls kept, "
        f"{KEPT[kind]} requests: {_spread(list(kept.values()))}",
        harm_axis(attacks, what="broken", unit="% of base's"),
        x_title=f"right calls kept, % of base's ({KEPT[kind]} requests)"
        + (f", {left_out} without them left out" if left_out else ""),
        height=340,
    )
    figure.update_layout(hovermode="closest", margin_t=66)
    _point(figure, "base", 1.0, 0.0, BASE)
    for place, share in kept.items():
        _point(figure, names[place], share, broken[place], run_colour(place))
    legend_below(figure)
    figure.update_xaxes(range=[-2, max(104.0, 100 * max(kept.values()) + 4)], autorangeoptions=None)
    figure.update_yaxes(range=[min(-4.0, 100 * min(broken.values()) - 4), 104])
    return figure


def harm_broken(found: ToolFindings, attacks: Sequence[str]) -> float | None:
    """1: no harmful call is left that the base makes; 0: all are; below 0: there are more. None where it makes none."""
    results = [found.attacks[name] for name in attacks if name in found.attacks]
    left = [share for one in results if (share := share_left(one.base, one.rerouted)) is not None]
    return 1 - sum(left) / len(left) if left else None


def _is_told(found: ToolFindings, attack: str) -> bool:
    """Whether the base model makes a harmful call under it."""
    one = found.attacks.get(attack)
    return one is not None and share_left(one.base, one.rerouted) is not None


def calls_kept(found: ToolFindings, kind: str) -> float | None:
    sides = getattr(found, kind)
    return share_left(sides.get("base"), sides.get("rerouted"))


def _spread(shares: Sequence[float]) -> str:
    """'80 %', or of several '60 to 80 %'."""
    low, high = f"{100 * min(shares):.0f}", f"{100 * max(shares):.0f}"
    return f"{low} %" if low == high else f"{low} to {high} %"


def _point(figure: go.Figure, name: str, kept: float, broken: float, colour: str) -> None:
    figure.add_scatter(
        x=[100 * kept],
        y=[100 * broken],
        name=escaped(name),
        mode="markers",
        cliponaxis=False,
        marker={"size": 13, "color": colour},
        hovertemplate=f"{in_hover(name)}<br>kept %{{x:.1f}} %, broken %{{y:.1f}} %<extra></extra>",
    )
