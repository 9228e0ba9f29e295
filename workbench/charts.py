"""Tables to figures. Knows nothing of Streamlit or files. Ground and text colours come from the page's theme."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from engine.records.cards import DataCard
from engine.records.results import ControlEvent
from engine.records.tables import RunTables
from workbench.colours import BASE, BENIGN, HARMFUL, MEAN, NEUTRAL, REROUTE, RETAIN, depth_colours, run_colour

POINTS = 2000
CONFIG = {"displaylogo": False, "doubleClick": "autosize"}
Ranges = Mapping[str, Mapping[str, Any]]


class RunCurves(NamedTuple):
    """One run in a comparison."""

    name: str
    tables: RunTables


def run_figures(tables: RunTables, controls: Sequence[ControlEvent] = ()) -> dict[str, go.Figure]:
    """The live figures of one run by chart key, in the order they are shown."""
    steps = tables.steps
    validation = tables.heldout[tables.heldout["split"] == "validation"]
    figures = {
        "losses": _figure("Losses, before their weights", "loss"),
        "weights": _figure("Weights of the losses", "weight"),
        "cosine": _blocks("Held-out cosine, harmful prompts", validation, "cosine", "cosine (1: nothing moved)"),
        "drift": _blocks("Held-out drift, benign prompts", validation, "drift", "drift (share of mean norm)"),
        "gradient": _figure("Gradient norm", "norm, before clipping"),
        "speed": _figure("Speed", "tokens per second"),
    }
    _line(figures["losses"], steps, "reroute_loss", "rerouting", REROUTE)
    _line(figures["losses"], steps, "retain_loss", "retain", RETAIN, dash="dash")
    _line(figures["weights"], steps, "reroute_weight", "rerouting", REROUTE)
    _line(figures["weights"], steps, "retain_weight", "retain", RETAIN, dash="dash")
    _line(figures["gradient"], steps, "gradient_norm", "gradient norm", NEUTRAL)
    _line(figures["speed"], steps, "tokens_per_second", "tokens per second", BASE)
    figures["gradient"].update_yaxes(type="log", tickformat="~g", nticks=6)
    for single in ("gradient", "speed"):
        figures[single].update_layout(showlegend=False)
    figures["speed"].update_yaxes(rangemode="tozero")
    figures["losses"].update_yaxes(rangemode="tozero")
    for figure in figures.values():
        _mark_controls(figure, controls)
    return figures


def compare_figures(runs: Sequence[RunCurves]) -> dict[str, go.Figure]:
    """Curves of several runs over each other, by chart key."""
    figures = {
        "compare_reroute": _figure("Rerouting loss", "loss"),
        "compare_retain": _figure("Retain loss", "loss"),
        "compare_cosine": _figure("Held-out cosine, mean over target blocks", "cosine (1: nothing moved)"),
        "compare_drift": _figure("Held-out drift, mean over retain blocks", "drift (share of mean norm)"),
    }
    dashes = ("solid", "dash", "dot", "dashdot")
    for index, run in enumerate(runs):
        name = run.name.replace("&", "&amp;").replace("<", "&lt;")  # plotly reads tags in names
        colour, dash = run_colour(index), dashes[index // 7 % 4]
        means = _means(run.tables.heldout[run.tables.heldout["split"] == "validation"])
        for key, table, column in (
            ("compare_reroute", run.tables.steps, "reroute_loss"),
            ("compare_retain", run.tables.steps, "retain_loss"),
            ("compare_cosine", means, "cosine"),
            ("compare_drift", means, "drift"),
        ):
            _line(figures[key], table, column, name, colour, dash=dash, markers=table is means)
    return figures


def schedule_figure(weights: Callable[[int], tuple[float, float]], steps: int) -> go.Figure:
    """Both weights over the steps of a run; `weights(step)` gives (rerouting, retain), steps counted from 0."""
    figure = _figure("", "weight", height=230)
    sample = np.unique(np.linspace(0, max(0, steps - 1), min(steps, 400)).round().astype(int))
    table = pd.DataFrame([weights(int(step)) for step in sample], columns=["reroute", "retain"])
    table["step"] = sample
    _line(figure, table, "reroute", "rerouting", REROUTE)
    _line(figure, table, "retain", "retain", RETAIN, dash="dash")
    figure.update_yaxes(rangemode="tozero")
    return figure


def token_figure(card: DataCard, *, harmful: bool) -> go.Figure:
    """How long the prompts are, in tokens."""
    figure = _figure("", "prompts", x_title="tokens of a prompt", height=170)
    edges = np.asarray(card.histogram_edges)
    figure.add_bar(
        x=(edges[:-1] + edges[1:]) / 2,
        y=card.histogram,
        width=np.diff(edges) * 0.92,
        marker_color=HARMFUL if harmful else BENIGN,
        showlegend=False,
        hovertemplate="about %{x:.0f} tokens: %{y} prompts<extra></extra>",
    )
    figure.update_layout(hovermode="closest")
    return figure


def with_ranges(figure: go.Figure, ranges: Mapping[str, Any] | None) -> go.Figure:
    """The figure at the ranges the user chose: {'x': [low, high], 'y': [low, high]}; a missing axis fits the data."""
    for axis, update in (("x", figure.update_xaxes), ("y", figure.update_yaxes)):
        chosen = (ranges or {}).get(axis)
        if chosen:
            update(range=list(chosen), autorange=False)
    return figure


def thin(values: np.ndarray, limit: int = POINTS) -> np.ndarray:
    """Positions of at most about `limit` values that keep every peak and dip: each bucket's least and greatest, and
    both ends."""
    count = len(values)
    if count <= limit:
        return np.arange(count)
    bounds = np.linspace(0, count, limit // 2 + 1).astype(int)
    filled = np.nan_to_num(values, nan=0.0)
    extremes = [
        position
        for low, high in pairwise(bounds)
        for position in (low + int(filled[low:high].argmin()), low + int(filled[low:high].argmax()))
    ]
    return np.unique([0, *extremes, count - 1])


def _blocks(title: str, heldout: pd.DataFrame, column: str, y_title: str) -> go.Figure:
    """One line a block, coloured by depth, and their mean."""
    figure = _figure(title, y_title)
    known = heldout[heldout[column].notna()]
    blocks = sorted(known["block"].unique())
    many = len(blocks) > 6
    for block, colour in zip(blocks, depth_colours(len(blocks)), strict=True):
        rows = known[known["block"] == block]
        named = not many or block in (blocks[0], blocks[-1])
        _line(figure, rows, column, f"block {block}", colour, width=1.3 if many else 2, markers=not many, legend=named)
    if len(blocks) > 1:
        _line(figure, _means(known), column, "mean", MEAN, width=3, dash="dot", markers=True)
    figure.update_yaxes(rangemode="tozero")
    if many:
        figure.update_layout(hovermode="closest")
    return figure


def _means(heldout: pd.DataFrame) -> pd.DataFrame:
    return heldout.groupby("step", as_index=False)[["cosine", "drift"]].mean(numeric_only=True)


def _figure(title: str, y_title: str, *, x_title: str = "step", height: int = 270) -> go.Figure:
    figure = go.Figure()
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 58 if title else 30, "b": 8},
        hovermode="x unified",
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0, "xanchor": "left"},
        dragmode="zoom",
    )
    if title:
        figure.update_layout(title={"text": title, "font": {"size": 14}, "x": 0, "y": 0.97, "yanchor": "top"})
    figure.update_xaxes(title_text=x_title, autorangeoptions={"minallowed": 0, "include": [0, 10]})
    figure.update_yaxes(title_text=y_title)
    return figure


def _line(
    figure: go.Figure,
    table: pd.DataFrame,
    column: str,
    name: str,
    colour: str,
    *,
    dash: str = "solid",
    width: float = 2,
    markers: bool = False,
    legend: bool = True,
) -> None:
    values = table[column].to_numpy(dtype=float)
    kept = thin(values)
    figure.add_scatter(
        x=table["step"].to_numpy()[kept],
        y=values[kept],
        name=name,
        mode="lines+markers" if markers or len(kept) < 3 else "lines",
        line={"color": colour, "width": width, "dash": dash},
        marker={"size": 6, "color": colour},
        showlegend=legend,
        hovertemplate="%{y:.4g}" if figure.layout.hovermode == "x unified" else f"{name}: %{{y:.4g}}<extra></extra>",
    )


def _mark_controls(figure: go.Figure, controls: Sequence[ControlEvent]) -> None:
    """A dotted line where the user changed a value while the run went on."""
    for control in controls:
        if control.control in ("alpha", "learning_rate"):
            figure.add_vline(x=control.step, line={"dash": "dot", "width": 1, "color": BASE})
