"""Tables to figures. Knows nothing of Streamlit or files. Ground and text colours come from the page's theme."""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
import plotly.graph_objects as go

from engine.records.events import VALUE_CONTROLS, ControlEvent
from engine.records.tables import RunTables
from workbench.kit.colours import BASE, MEAN, NEUTRAL, REROUTE, RETAIN, depth_colours, run_colour
from workbench.kit.drawing import add_line, blank_figure


class RunCurves(NamedTuple):
    """One run in a comparison."""

    name: str
    tables: RunTables


def run_figures(tables: RunTables, controls: Sequence[ControlEvent] = ()) -> dict[str, go.Figure]:
    """The live figures of one run by chart key, in the order they are shown."""
    steps = tables.steps
    validation = tables.heldout[tables.heldout["split"] == "validation"]
    figures = {
        "losses": blank_figure("Losses, before their weights", "loss"),
        "weights": blank_figure("Weights of the losses", "weight"),
        "cosine": _blocks("Held-out cosine, harmful prompts", validation, "cosine", "cosine (1: nothing moved)"),
        "drift": _blocks("Held-out drift, benign prompts", validation, "drift", "drift (share of mean norm)"),
        "gradient": blank_figure("Gradient norm", "norm, before clipping"),
        "speed": blank_figure("Speed", "tokens per second"),
    }
    add_line(figures["losses"], steps["step"], steps["reroute_loss"], "rerouting", REROUTE)
    add_line(figures["losses"], steps["step"], steps["retain_loss"], "retain", RETAIN, dash="dash")
    add_line(figures["weights"], steps["step"], steps["reroute_weight"], "rerouting", REROUTE)
    add_line(figures["weights"], steps["step"], steps["retain_weight"], "retain", RETAIN, dash="dash")
    add_line(figures["gradient"], steps["step"], steps["gradient_norm"], "gradient norm", NEUTRAL)
    add_line(figures["speed"], steps["step"], steps["tokens_per_second"], "tokens per second", BASE)
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
        "compare_reroute": blank_figure("Rerouting loss", "loss"),
        "compare_retain": blank_figure("Retain loss", "loss"),
        "compare_cosine": blank_figure("Held-out cosine, mean over target blocks", "cosine (1: nothing moved)"),
        "compare_drift": blank_figure("Held-out drift, mean over retain blocks", "drift (share of mean norm)"),
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
            add_line(figures[key], table["step"], table[column], name, colour, dash=dash, markers=table is means)
    return figures


def _blocks(title: str, heldout: pd.DataFrame, column: str, y_title: str) -> go.Figure:
    """One line a block, coloured by depth, and their mean."""
    figure = blank_figure(title, y_title)
    known = heldout[heldout[column].notna()]
    blocks = sorted(known["block"].unique())
    many = len(blocks) > 6
    for block, colour in zip(blocks, depth_colours(len(blocks)), strict=True):
        rows = known[known["block"] == block]
        named, width = not many or block in (blocks[0], blocks[-1]), 1.3 if many else 2
        name = f"block {block}"
        add_line(figure, rows["step"], rows[column], name, colour, width=width, markers=not many, legend=named)
    if len(blocks) > 1:
        means = _means(known)
        add_line(figure, means["step"], means[column], "mean", MEAN, width=3, dash="dot", markers=True)
    figure.update_yaxes(rangemode="tozero")
    if many:
        figure.update_layout(hovermode="closest")
    return figure


def _means(heldout: pd.DataFrame) -> pd.DataFrame:
    return heldout.groupby("step", as_index=False)[["cosine", "drift"]].mean(numeric_only=True)


def _mark_controls(figure: go.Figure, controls: Sequence[ControlEvent]) -> None:
    """A dotted line where the user changed a value while the run went on."""
    for control in controls:
        if control.control in VALUE_CONTROLS:
            figure.add_vline(x=control.step, line={"dash": "dot", "width": 1, "color": BASE})
