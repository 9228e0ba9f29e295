"""The plane in which harmful answers moved, as figures: arrows, two panels, a small one.

Knows nothing of Streamlit or files.
"""

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from engine.figures.colours import BASE, BENIGN, BORDERLINE, HARMFUL
from engine.figures.labels import escaped
from engine.figures.maps import token_names
from workbench.kit.plane import AXES, Places, Plane, beyond, ellipse

COLOURS = {"harmful": HARMFUL, "benign": BENIGN, "borderline": BORDERLINE}
SYMBOLS = {"harmful": "circle", "benign": "square", "borderline": "diamond"}
RIM = {"left": "triangle-left", "right": "triangle-right", "up": "triangle-up", "down": "triangle-down"}
DOT, GHOST, CENTRE = 11, 6, 24
# More points are drawn smaller, and without the way of each.
MANY = 400
HEIGHT = 600
FADED = 0.15
HOVER = (
    "%{customdata[1]}<br>%{customdata[2]} · %{customdata[3]}<br>moved %{customdata[4]} deviations along, to "
    "(%{customdata[5]}, %{customdata[6]})%{customdata[7]}<extra></extra>"
)


def arrows_figure(plane: Plane, *, selected: Collection[int] = ()) -> go.Figure:
    """Each prompt's way from where it was (hollow) to where it is, and the way of each label's mean."""
    figure = go.Figure()
    if plane.step and len(plane.table) <= MANY:
        figure.add_traces(_ways(plane, selected))
    figure.add_traces(_ellipses(plane, plane.after))
    if plane.step:
        figure.add_traces(_ghosts(plane))
    figure.add_traces(_dots(plane, plane.after, selected, legend=True))
    if plane.step:
        figure.add_traces(_centres(plane, plane.before, hollow=True))
    figure.add_traces(_centres(plane, plane.after))
    figure.add_traces(_legend(plane))
    figure.update_layout(annotations=_mean_ways(plane) if plane.step else [])
    return _styled(_framed(figure, plane), height=HEIGHT)


def panels_figure(plane: Plane, *, selected: Collection[int] = ()) -> go.Figure:
    """Before, and after with faint ghosts of before, in one frame."""
    after = f"After step {plane.step}" if plane.step else "Step 0: the base model itself"
    figure = make_subplots(rows=1, cols=2, subplot_titles=["Before", after], horizontal_spacing=0.03)
    for column, places in ((1, plane.before), (2, plane.after)):
        traces = [*_ellipses(plane, places), *(_ghosts(plane) if column == 2 else [])]
        traces += [*_dots(plane, places, selected, legend=column == 1), *_centres(plane, places)]
        for trace in [*traces, *(_legend(plane) if column == 1 else [])]:
            figure.add_trace(trace, row=1, col=column)
    figure.update_annotations(font={"size": 14})
    _framed(figure, plane)
    figure.update_xaxes(matches="x")
    figure.update_yaxes(matches="y")
    figure.update_yaxes(title_text="", showticklabels=False, col=2)
    # The panels' titles lie between the legend and the axes.
    return _styled(figure, height=HEIGHT).update_layout(legend={"y": 1.07}, margin={"t": 84})


def small_figure(plane: Plane, *, height: int = 250) -> go.Figure:
    """The picture without words, for a comparison at a glance."""
    figure = go.Figure()
    figure.add_traces(_ellipses(plane, plane.after))
    if plane.step:
        figure.add_traces(_ghosts(plane, size=4))
    figure.add_traces(_dots(plane, plane.after, (), legend=False, size=6))
    if plane.step:
        figure.add_traces(_centres(plane, plane.before, hollow=True, size=13))
    figure.add_traces(_centres(plane, plane.after, size=13))
    figure.update_layout(annotations=_mean_ways(plane, width=2) if plane.step else [])
    _framed(figure, plane)
    figure.update_xaxes(title_text="along its own way (deviations)", title_font={"size": 12})
    figure.update_yaxes(title_text="")
    return figure.update_layout(
        height=height, margin={"l": 8, "r": 8, "t": 8, "b": 8}, showlegend=False, hovermode="closest", dragmode="pan"
    )


def _dots(
    plane: Plane, places: Places, selected: Collection[int], *, legend: bool, size: float = 0
) -> list[go.Scatter]:
    held, sides = beyond(places, plane.frame)
    size = size or (DOT if len(plane.table) <= MANY else GHOST)
    traces = []
    for group, count in plane.counts.items():
        mine = plane.groups == group
        rows, over = plane.table[mine], sides[mine]
        chosen = rows["row"].isin(selected).to_numpy()
        traces.append(
            go.Scatter(
                x=held[mine, 0],
                y=held[mine, 1],
                mode="markers",
                name=f"{group}, n = {count}",
                legendgroup=group,
                showlegend=legend,
                marker={
                    "color": COLOURS[group],
                    "symbol": [RIM.get(side, SYMBOLS[group]) for side in over],
                    "size": [size + 2 if side else size for side in over],
                    "opacity": 0.7,
                    "line": {"width": 0.5, "color": "white"},
                },
                customdata=_about(rows, places[mine], over),
                hovertemplate=HOVER,
                selectedpoints=np.flatnonzero(chosen) if selected else None,
                selected={"marker": {"opacity": 0.95}},
                unselected={"marker": {"opacity": FADED}},
            )
        )
    return traces


def _about(rows: pd.DataFrame, places: Places, sides: np.ndarray) -> list[list[Any]]:
    """A point: its prompt's place first, then what hovering shows, of one beyond the rim its true place."""
    splits = rows["split"] + " split" + (" · " + token_names(rows) if "token" in rows else "")
    ways = (rows["x"] - rows["base_x"]).map("{:.1f}".format)
    columns = (rows["row"].tolist(), rows["prompt"].map(escaped), rows["category"].map(escaped), splits, ways)
    outside = [", beyond the frame" if side else "" for side in sides]
    return [
        [*about, f"{x:.1f}", f"{y:.1f}", where]
        for *about, (x, y), where in zip(*columns, places.tolist(), outside, strict=True)
    ]


def _ghosts(plane: Plane, *, size: float = GHOST) -> list[go.Scatter]:
    held, _ = beyond(plane.before, plane.frame)
    return [
        go.Scatter(
            x=held[plane.groups == group, 0],
            y=held[plane.groups == group, 1],
            mode="markers",
            marker={"symbol": f"{SYMBOLS[group]}-open", "color": COLOURS[group], "size": size, "opacity": 0.35},
            legendgroup=group,
            showlegend=False,
            hoverinfo="skip",
        )
        for group in plane.counts
    ]


def _ways(plane: Plane, selected: Collection[int]) -> list[go.Scatter]:
    start, end = beyond(plane.before, plane.frame)[0], beyond(plane.after, plane.frame)[0]
    chosen = plane.table["row"].isin(selected).to_numpy() if selected else np.ones(len(start), dtype=bool)
    traces = []
    for group in plane.counts:
        mine = (plane.groups == group) & chosen
        gap = np.full(int(mine.sum()), np.nan)
        traces.append(
            go.Scatter(
                x=np.column_stack([start[mine, 0], end[mine, 0], gap]).ravel(),
                y=np.column_stack([start[mine, 1], end[mine, 1], gap]).ravel(),
                mode="lines",
                line={"color": COLOURS[group], "width": 1},
                opacity=0.38,
                legendgroup=group,
                showlegend=False,
                hoverinfo="skip",
                connectgaps=False,
            )
        )
    return traces


def _ellipses(plane: Plane, places: Places) -> list[go.Scatter]:
    traces = []
    for group in plane.counts:
        outline = ellipse(places[plane.groups == group])
        if outline is not None:
            red, green, blue = (int(COLOURS[group][at : at + 2], 16) for at in (1, 3, 5))
            traces.append(
                go.Scatter(
                    x=outline[:, 0],
                    y=outline[:, 1],
                    mode="lines",
                    line={"color": COLOURS[group], "width": 2},
                    fill="toself",
                    fillcolor=f"rgba({red},{green},{blue},0.10)",
                    legendgroup=group,
                    showlegend=False,
                    hoverinfo="skip",
                )
            )
    return traces


def _centres(plane: Plane, places: Places, *, hollow: bool = False, size: float = CENTRE) -> list[go.Scatter]:
    traces = []
    for group in plane.counts:
        middle = places[plane.groups == group].mean(axis=0, keepdims=True)
        at, _ = beyond(middle, plane.frame)
        looks: dict[str, Any] = {"symbol": SYMBOLS[group], "line": {"width": 3, "color": "white"}, "size": size}
        if hollow:
            looks = {"symbol": f"{SYMBOLS[group]}-open", "line": {"width": 3}, "size": size - 4}
        traces.append(
            go.Scatter(
                x=at[:, 0],
                y=at[:, 1],
                mode="markers",
                marker={"color": COLOURS[group], "opacity": 1, **looks},
                legendgroup=group,
                showlegend=False,
                hovertemplate=f"mean of {group}{' before' if hollow else ''}: %{{x:.1f}}, %{{y:.1f}}<extra></extra>",
            )
        )
    return traces


def _mean_ways(plane: Plane, *, width: float = 4) -> list[dict[str, Any]]:
    """An arrow from each label's mean before to its mean after, where it is long enough to have a head."""
    (left, right), (low, high) = plane.frame
    arrows = []
    for group in plane.counts:
        mine = plane.groups == group
        ends = np.array([plane.before[mine].mean(axis=0), plane.after[mine].mean(axis=0)])
        way = (ends[1] - ends[0]) / (right - left, high - low)
        if np.hypot(*way) < 0.06:
            continue
        (start, end), _ = beyond(ends, plane.frame)
        arrows.append(
            {
                **{"x": end[0], "y": end[1], "ax": start[0], "ay": start[1]},
                **{"xref": "x", "yref": "y", "axref": "x", "ayref": "y", "showarrow": True, "text": ""},
                **{"arrowhead": 2, "arrowsize": 0.9, "arrowwidth": width, "arrowcolor": COLOURS[group]},
                "standoff": 3 * width,
            }
        )
    return arrows


def _legend(plane: Plane) -> list[go.Scatter]:
    """What hollow, large and triangular markers mean: entries without points."""
    outside = (beyond(plane.after, plane.frame)[1] != "").any()
    entries: list[tuple[str, dict[str, Any], bool]] = [
        ("mean; ellipse: 1 standard deviation", {"symbol": "circle", "line": {"width": 2, "color": "white"}}, True),
        ("hollow: before", {"symbol": "circle-open", "line": {"width": 2}}, plane.step > 0),
        ("beyond the frame", {"symbol": "triangle-right"}, bool(outside)),
    ]
    return [
        go.Scatter(
            x=[None],
            y=[None],
            mode="markers",
            name=name,
            marker={"color": BASE, "size": 11, **marker},
            hoverinfo="skip",
        )
        for name, marker, wanted in entries
        if wanted
    ]


def _framed(figure: go.Figure, plane: Plane) -> go.Figure:
    figure.update_xaxes(title_text=AXES[0], range=list(plane.frame[0]), autorange=False, automargin=True)
    return figure.update_yaxes(title_text=AXES[1], range=list(plane.frame[1]), autorange=False, automargin=True)


def _styled(figure: go.Figure, *, height: int) -> go.Figure:
    return figure.update_layout(
        height=height,
        margin={"l": 8, "r": 10, "t": 64, "b": 8},
        hovermode="closest",
        dragmode="lasso",
        modebar={"orientation": "v"},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.03, "x": 0, "xanchor": "left", "font": {"size": 13}},
        title={"text": ""},
    )
