"""Tables to figures. Knows nothing of Streamlit or files. Ground and text colours come from the page's theme."""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
import plotly.graph_objects as go

from engine.figures.colours import BASE, MEAN, NEUTRAL, REROUTE, RETAIN, depth_colours, run_colour
from engine.figures.drawing import add_line, blank_figure
from engine.figures.labels import escaped
from engine.records.events import VALUE_CONTROLS, ControlEvent
from engine.records.tables import RunTables

# Columns of losses that few runs have, with their names.
OTHER_LOSSES = {"answer_loss": "answers", "twin_loss": "twins"}
# Pixels that a line below the title takes.
SUBTITLE = 26
# Pixels of a further line of a legend, and how many blocks' names one holds where two charts stand beside each other.
LEGEND_LINE, BLOCKS_IN_A_LINE = 16, 4


class RunCurves(NamedTuple):
    """One run in a comparison. steps: in all, of the whole run."""

    name: str
    tables: RunTables
    steps: int = 0


def run_figures(tables: RunTables, controls: Sequence[ControlEvent] = ()) -> dict[str, go.Figure]:
    """The live figures of one run by chart key, in the order they are shown."""
    steps = tables.steps
    validation = tables.heldout[tables.heldout["split"] == "validation"]
    figures = {
        "losses": blank_figure("Losses, before their weights", "loss"),
        "weights": blank_figure("Weights of the losses by the schedule", "weight"),
        "cosine": _blocks(
            "Held-out cosine, harmful prompts",
            validation,
            "cosine",
            "cosine (1: nothing moved)",
        ),
        "drift": _blocks(
            "Held-out drift, benign prompts",
            validation,
            "drift",
            "drift (share of mean norm)",
        ),
        "gradient": blank_figure("Gradient norm", "norm, before clipping"),
        "speed": blank_figure("Speed", "tokens per second"),
    }
    add_line(figures["losses"], steps["step"], steps["reroute_loss"], "rerouting", REROUTE)
    add_line(figures["losses"], steps["step"], steps["retain_loss"], "retain", RETAIN, dash="dash")
    for column, name in OTHER_LOSSES.items():
        if steps[column].any():
            add_line(figures["losses"], steps["step"], steps[column], name, NEUTRAL, dash="dot")
    add_line(figures["weights"], steps["step"], steps["reroute_weight"], "rerouting", REROUTE)
    add_line(figures["weights"], steps["step"], steps["retain_weight"], "retain", RETAIN, dash="dash")
    add_line(figures["gradient"], steps["step"], steps["gradient_norm"], "gradient norm", NEUTRAL)
    add_line(figures["speed"], steps["step"], steps["tokens_per_second"], "tokens per second", BASE)
    beside = figures["cosine"], figures["drift"]
    names = max(sum(trace.showlegend for trace in figure.data) for figure in beside)
    for figure in beside:
        _with_legend_lines(figure, -(-names // BLOCKS_IN_A_LINE))
    figures["gradient"].update_yaxes(type="log", tickformat="~g", nticks=6)
    for single in ("gradient", "speed"):
        figures[single].update_layout(showlegend=False)
    figures["speed"].update_yaxes(rangemode="tozero")
    figures["losses"].update_yaxes(rangemode="tozero")
    for figure in figures.values():
        _mark_controls(figure, controls)
    _say_split(figures["cosine"], [tables], "harmful")
    _say_split(figures["drift"], [tables], "benign")
    return figures


def compare_figures(runs: Sequence[RunCurves], *, smoothing: float = 0.0, share: bool = False) -> dict[str, go.Figure]:
    """Curves of several runs over each other, by chart key.

    smoothing: of the losses, 0 (none) to below 1: the weight that a moving average gives to what was before; the
    measured curve then stays faint behind it.  share: across, the share of the run in percent instead of its steps.
    """
    across = "share of the run (%)" if share else "step"
    tables = [run.tables for run in runs]
    smoothed = f", smoothed {smoothing:g}" if smoothing else ""
    figures = {
        "compare_reroute": blank_figure(f"Rerouting loss{smoothed}", "loss", x_title=across),
        "compare_retain": blank_figure(f"Retain loss{smoothed}", "loss", x_title=across),
        "compare_cosine": blank_figure(
            "Held-out cosine, mean over target blocks",
            "cosine (1: nothing moved)",
            x_title=across,
        ),
        "compare_drift": blank_figure(
            "Held-out drift, mean over retain blocks",
            "drift (share of mean norm)",
            x_title=across,
        ),
    }
    dashes = ("solid", "dash", "dot", "dashdot")
    for index, run in enumerate(runs):
        colour, dash = run_colour(index), dashes[index // 7 % 4]
        means = _means(run.tables.heldout[run.tables.heldout["split"] == "validation"])
        for key, table, column in (
            ("compare_reroute", run.tables.steps, "reroute_loss"),
            ("compare_retain", run.tables.steps, "retain_loss"),
            ("compare_cosine", means, "cosine"),
            ("compare_drift", means, "drift"),
        ):
            x, values, name = _across(table["step"], run.steps, share=share), table[column], escaped(run.name)
            if smoothing and table is not means:
                add_line(figures[key], x, values, name, colour, width=1, legend=False)
                figures[key].data[-1].update(opacity=0.25, hoverinfo="skip", hovertemplate=None)
                values = smooth(values, smoothing)
            add_line(figures[key], x, values, name, colour, dash=dash, markers=table is means)
    for figure in figures.values():
        # In a narrow window the legend has a line for each run.
        _with_legend_lines(figure, len(runs))
    _say_split(figures["compare_cosine"], tables, "harmful")
    _say_split(figures["compare_drift"], tables, "benign")
    if share:
        for figure in figures.values():
            figure.update_xaxes(autorangeoptions={"minallowed": 0, "include": [0, 100]})
    return figures


def smooth(values: pd.Series, smoothing: float) -> pd.Series:
    """An exponential moving average whose first values are not drawn towards nought."""
    return values.astype(float).ewm(alpha=1 - smoothing).mean()


def validation_words(tables: Sequence[RunTables], side: str) -> str:
    """'validation split, n = 85', with the least and the greatest n of several runs."""
    counts = set()
    for one in tables:
        rows = one.heldout[one.heldout["split"] == "validation"][f"{side}_rows"]
        counts |= set(rows.dropna().astype(int))
    if not counts:
        return "validation split"
    return f"validation split, n = {min(counts)}" + (f" to {max(counts)}" if len(counts) > 1 else "")


def _say_split(figure: go.Figure, tables: Sequence[RunTables], side: str) -> None:
    """Which rows made the curve, on a line below the title: behind it a narrow window would cut it off."""
    figure.update_layout(
        title_subtitle={"text": validation_words(tables, side), "font": {"size": 12}},
        height=figure.layout.height + SUBTITLE,
        margin_t=figure.layout.margin.t + SUBTITLE,
    )


def _across(steps: pd.Series, all_steps: int, *, share: bool) -> pd.Series:
    return 100 * steps / max(1, all_steps) if share else steps


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


def _with_legend_lines(figure: go.Figure, lines: int) -> None:
    """Room for a legend of so many lines, which would else lie over the title."""
    more = LEGEND_LINE * max(0, lines - 1)
    figure.update_layout(height=figure.layout.height + more, margin_t=figure.layout.margin.t + more)


def _means(heldout: pd.DataFrame) -> pd.DataFrame:
    # Without rows the columns have no type yet, and a mean of numbers alone would leave them out.
    figures = heldout.astype({"cosine": float, "drift": float})
    return figures.groupby("step", as_index=False)[["cosine", "drift"]].mean()


def _mark_controls(figure: go.Figure, controls: Sequence[ControlEvent]) -> None:
    """A dotted line where the user changed a value while the run went on."""
    for control in controls:
        if control.control in VALUE_CONTROLS:
            figure.add_vline(x=control.step, line={"dash": "dot", "width": 1, "color": BASE})
