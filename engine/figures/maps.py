"""Map tables to figures: two linked maps, or one with arrows. Knows nothing of Streamlit or files."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from engine.figures.colours import BASE, BENIGN, BORDERLINE, HARMFUL
from engine.figures.labels import escaped, token_name
from engine.records.captures.tables import AXES, GROUPS

COLOURS = {"harmful": HARMFUL, "benign": BENIGN, "borderline": BORDERLINE}
SYMBOLS = {"train": "square", "validation": "circle", "test": "diamond"}
# More points are drawn by the graphics card: as elements of the page they would take seconds.
PAGE_POINTS = 4000
ARROWS = 2000
SIZE = 7
HEIGHT = 520
FADED = 0.18
Ranges = Sequence[tuple[float, float]]


def two_maps(
    table: pd.DataFrame, *, axes: Sequence[str], ranges: Ranges, titles: Sequence[str], selected: Collection[int] = ()
) -> go.Figure:
    """Base left, the checkpoint right, on the same axes: zooming one zooms the other. `selected` holds places of
    prompts.
    """
    flat = len(ranges) == 2
    figure = make_subplots(
        rows=1,
        cols=2,
        subplot_titles=[escaped(title) for title in titles],
        horizontal_spacing=0.04,
        specs=[[{"type": "xy" if flat else "scene"}] * 2],
    )
    for column, prefix in ((1, "base_"), (2, "")):
        for trace in _points(table, prefix, flat=flat, selected=selected, legend=column == 1):
            figure.add_trace(trace, row=1, col=column)
    if flat:
        figure.update_xaxes(title_text=axes[0], range=list(ranges[0]), autorange=False, matches="x")
        figure.update_yaxes(range=list(ranges[1]), autorange=False, matches="y")
        figure.update_yaxes(title_text=axes[1], col=1)
        figure.update_yaxes(showticklabels=False, col=2)
    else:
        figure.update_scenes(**_scene(axes, ranges))
    return _styled(figure, dragmode="lasso" if flat else "turntable")


def one_map(
    table: pd.DataFrame,
    *,
    axes: Sequence[str],
    ranges: Ranges,
    title: str,
    arrows: bool,
    selected: Collection[int] = (),
) -> go.Figure:
    """One map of the checkpoint; with arrows each prompt's way from its base position (small, grey) is drawn too."""
    flat = len(ranges) == 2
    figure = make_subplots(subplot_titles=[escaped(title)], specs=[[{"type": "xy" if flat else "scene"}]])
    if arrows:
        figure.add_traces(_ways(table, flat=flat, selected=selected))
    figure.add_traces(_points(table, "", flat=flat, selected=selected, legend=True))
    if flat:
        figure.update_xaxes(title_text=axes[0], range=list(ranges[0]), autorange=False)
        figure.update_yaxes(title_text=axes[1], range=list(ranges[1]), autorange=False)
    else:
        figure.update_scenes(**_scene(axes, ranges))
    return _styled(figure, dragmode="lasso" if flat else "turntable")


def axis_titles(axes: Sequence[str], explained: Sequence[float]) -> list[str]:
    """'component 1 (41 % of the variance)' where that is known."""
    shares = [*explained, *[None] * (len(axes) - len(explained))]
    return [
        axis if share is None else f"{axis} ({share:.0%} of the variance)".replace("%", " %")
        for axis, share in zip(axes, shares, strict=False)
    ]


def _points(
    table: pd.DataFrame, prefix: str, *, flat: bool, selected: Collection[int], legend: bool
) -> list[go.Scatter | go.Scattergl | go.Scatter3d]:
    kind = go.Scatter3d if not flat else go.Scattergl if len(table) > PAGE_POINTS else go.Scatter
    dimmed = bool(selected)
    traces = []
    for group in GROUPS:
        for number, split in enumerate(split for split in SYMBOLS if _has(table, group, split)):
            rows = table[(table["group"] == group) & (table["split"] == split)]
            chosen = rows["row"].isin(selected).to_numpy()
            looks: dict[str, Any]
            marker: dict[str, Any]
            if flat:
                looks = {
                    "selectedpoints": np.flatnonzero(chosen) if dimmed else None,
                    "selected": {"marker": {"opacity": 0.95}},
                    "unselected": {"marker": {"opacity": FADED}},
                }
                marker = {"size": SIZE, "opacity": 0.8}
            else:
                looks = {}
                marker = {"size": np.where(chosen, 6, 2) if dimmed else 3.5, "opacity": 0.8}
            traces.append(
                kind(
                    **{axis: rows[prefix + axis] for axis in _axes(table)},
                    mode="markers",
                    name=group,
                    legendgroup=group,
                    showlegend=legend and number == 0,
                    marker={"color": COLOURS[group], "symbol": SYMBOLS[split], **marker},
                    customdata=_about(rows).to_numpy(dtype=object).tolist(),
                    hovertemplate="%{customdata[1]}<br>%{customdata[2]} · %{customdata[3]}<extra></extra>",
                    **looks,
                )
            )
    return traces + (_symbol_legend(table, kind) if legend else [])


def token_names(points: pd.DataFrame) -> pd.Series:
    """The names of points of a map of every token, which have their token and how many their prompt has."""
    starts = zip(points["token"], points["prompt_tokens"], strict=True)
    names = [token_name(int(token), answer_start=int(start)) for token, start in starts]
    return pd.Series(names, index=points.index, dtype=str)


def _about(rows: pd.DataFrame) -> pd.DataFrame:
    """What a point carries: the prompt's place first, then what hovering shows."""
    about = rows[["row", "prompt", "category", "split"]].copy()
    if "token" in rows:
        about["split"] = about["split"] + " · " + token_names(rows)
    about[["prompt", "category"]] = about[["prompt", "category"]].map(escaped)
    return about


def _symbol_legend(table: pd.DataFrame, kind: type) -> list:
    """What the symbols mean: entries without points."""
    splits = [split for split in SYMBOLS if (table["split"] == split).any()]
    empty = {"x": [None], "y": [None]} | ({"z": [None]} if kind is go.Scatter3d else {})
    return [
        kind(
            **empty,
            mode="markers",
            name=f"{split} split",
            legendgroup=f"split {split}",
            marker={"color": BASE, "symbol": SYMBOLS[split], "size": SIZE},
            hoverinfo="skip",
        )
        for split in splits
        if len(splits) > 1
    ]


def _ways(table: pd.DataFrame, *, flat: bool, selected: Collection[int]) -> list[go.Scatter | go.Scatter3d]:
    """One line from base to checkpoint a prompt, with a head; one trace a group."""
    shown = table[table["row"].isin(selected)] if selected else table
    traces = []
    for group in GROUPS:
        rows = shown[shown["group"] == group]
        if rows.empty:
            continue
        ways = {
            axis: np.column_stack([rows[f"base_{axis}"], rows[axis], np.full(len(rows), np.nan)]).ravel()
            for axis in _axes(table)
        }
        line = {"color": COLOURS[group], "width": 1}
        if flat:
            marker = {
                "symbol": ["circle", "arrow", "circle"] * len(rows),
                "size": [4, 9, 0] * len(rows),
                "color": [BASE, COLOURS[group], BASE] * len(rows),
                "angleref": "previous",
            }
            trace = go.Scatter(**ways, mode="lines+markers", line=line, marker=marker, opacity=0.55)
        else:
            trace = go.Scatter3d(**ways, mode="lines", line={**line, "width": 2}, opacity=0.55)
        traces.append(trace.update(legendgroup=group, showlegend=False, hoverinfo="skip", connectgaps=False))
    return traces


def _scene(axes: Sequence[str], ranges: Ranges) -> dict:
    return {"camera": {"eye": {"x": 1.5, "y": 1.5, "z": 1.1}}} | {
        f"{name}axis": {"title": {"text": title}, "range": list(span), "autorange": False}
        for name, title, span in zip(AXES, axes, ranges, strict=True)
    }


def _styled(figure: go.Figure, *, dragmode: str) -> go.Figure:
    figure.update_annotations(font={"size": 14})
    return figure.update_layout(
        height=HEIGHT,
        margin={"l": 8, "r": 8, "t": 62, "b": 8},
        hovermode="closest",
        dragmode=dragmode,
        legend={
            "orientation": "h",
            "yanchor": "bottom",
            "y": 1.05,
            "x": 0,
            "xanchor": "left",
            "itemsizing": "constant",
        },
        title={"text": ""},
    )


def _axes(table: pd.DataFrame) -> list[str]:
    return [axis for axis in AXES if axis in table]


def _has(table: pd.DataFrame, group: str, split: str) -> bool:
    return bool(((table["group"] == group) & (table["split"] == split)).any())
