"""Small figures for lessons, from records that were read. Pure: knows nothing of Streamlit or files."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from engine.figures.colours import BASE, BENIGN, BORDERLINE, HARMFUL, REROUTE, RETAIN, run_colour
from engine.figures.drawing import add_line, blank_figure
from engine.figures.labels import escaped
from engine.records.evaluation.counts import SIDES, Count, Side
from engine.records.events import AnyEvent, HeldoutResult, StepResult

HEIGHT = 330
# Of two panels, one above the other.
TWO_HEIGHT = 420
# A curve in so many means.
MEANS = 50
# Of a pair of bars.
BAR_HEIGHT = 42
# So many have room for each its own number.
FEW_BLOCKS = 8


def losses_figure(events: Sequence[AnyEvent]) -> go.Figure:
    """Both losses of each step, before their weights, each on an axis of its own: the rerouting loss is no more than 1,
    and the retain loss may be twenty times that."""
    steps = [event for event in events if isinstance(event, StepResult)]
    figure = blank_figure("", "rerouting loss", height=TWO_HEIGHT)
    numbers = [event.step for event in steps]
    rerouting = pd.Series([event.reroute_loss for event in steps], dtype=float)
    # A batch of a few rows jumps about.
    window = max(1, len(steps) // MEANS)
    mean = rerouting.rolling(window, center=True, min_periods=1).mean()
    add_line(figure, numbers, rerouting, "each step", BASE, width=1, legend=window > 1)
    add_line(figure, numbers, mean, f"mean of {window} steps", REROUTE, legend=window > 1)
    add_line(figure, numbers, [event.retain_loss for event in steps], "retain loss", RETAIN, legend=False)
    figure.data[-1].yaxis = "y2"
    figure.update_layout(
        hoversubplots="axis",
        xaxis={"anchor": "y2"},
        yaxis={"domain": [0.55, 1.0], "rangemode": "tozero"},
        yaxis2={"title": {"text": "retain loss"}, "domain": [0.0, 0.45], "rangemode": "tozero", "automargin": True},
    )
    return figure


def heldout_figure(events: Sequence[AnyEvent]) -> go.Figure:
    """Cosine with the base model of rows that training never sees, both sides, by step."""
    found = [event for event in events if isinstance(event, HeldoutResult) and event.split == "validation"]
    figure = blank_figure("", "cosine with the base model", height=HEIGHT)
    steps = [event.step for event in found]
    add_line(figure, steps, [event.mean_cosine for event in found], "harmful answers", HARMFUL, markers=True)
    # Over all tokens of all of them, borderline ones too, as a run's page has it.
    add_line(figure, steps, [_mean(event.benign_cosine) for event in found], "benign", BENIGN, markers=True)
    figure.update_yaxes(range=[-0.15, 1.05])
    return figure


def blocks_figure(table: pd.DataFrame, targets: Sequence[int]) -> go.Figure:
    """Cosine at each block: harmful answers after each captured step, benign and borderline ones at the end. table: of
    `movement_table`."""
    figure = blank_figure("", "cosine with the base model", x_title="block", height=HEIGHT)
    steps = sorted(int(step) for step in table["step"].unique())
    for step in steps:
        rows = table[(table["step"] == step) & (table["group"] == "harmful")]
        last = step == steps[-1]
        add_line(
            figure,
            rows["block"],
            rows["cosine"],
            f"harmful, step {step}" if last else "harmful, earlier steps",
            HARMFUL if last else BASE,
            width=3 if last else 1,
            legend=last or step == steps[0],
        )
    for group, colour in (("benign", BENIGN), ("borderline", BORDERLINE)):
        rows = table[(table["step"] == steps[-1]) & (table["group"] == group)]
        if len(rows):
            add_line(figure, rows["block"], rows["cosine"], f"{group}, step {steps[-1]}", colour, width=3)
    for block in targets:
        figure.add_vline(x=block, line={"dash": "dot", "width": 1, "color": BASE})
    figure.update_xaxes(autorangeoptions={"minallowed": None, "include": None})
    return figure


def shares_figure(rows: Mapping[str, Mapping[Side, Count]]) -> go.Figure:
    """Shares in percent with their 95 % intervals, base and circuit-broken, a pair of bars a name, from above."""
    figure = blank_figure("", "", x_title="percent", height=max(HEIGHT, 90 + BAR_HEIGHT * len(rows)))
    names = [f"{escaped(name)}<br>n = {sides['base'].n}" for name, sides in rows.items()]
    for side in SIDES:
        words, colour = ("base", BASE) if side == "base" else ("circuit-broken", HARMFUL)
        counts = [sides[side] for sides in rows.values()]
        rates = [100 * (one.rate or 0.0) for one in counts]
        figure.add_bar(
            x=rates,
            y=names,
            orientation="h",
            name=words,
            marker={"color": colour},
            error_x={
                "type": "data",
                "array": [100 * one.ci95[1] - rate for one, rate in zip(counts, rates, strict=True)],
                "arrayminus": [rate - 100 * one.ci95[0] for one, rate in zip(counts, rates, strict=True)],
                "thickness": 1.2,
                "width": 3,
            },
            hovertemplate="%{x:.0f} %",
        )
    figure.update_layout(barmode="group", hovermode="y")
    figure.update_xaxes(range=[0, 105])
    figure.update_yaxes(autorange="reversed", tickfont={"size": 11})
    return figure


def separation_figure(table: pd.DataFrame) -> go.Figure:
    """Held-out AUC of a linear probe at each block with its interval, against borderline ones too, and what shuffled
    labels reach. table: of `examination_table`."""
    known = table[np.isfinite(table["auc"])]
    figure = blank_figure("", "AUC, held out", x_title="block", height=HEIGHT)
    for name in ("auc_low", "auc_high"):
        figure.add_scatter(
            x=known["block"],
            y=known[name],
            mode="lines",
            line={"width": 0},
            fill="tonexty" if name == "auc_high" else None,
            fillcolor="rgba(0,114,178,0.15)",
            showlegend=False,
            hoverinfo="skip",
        )
    add_line(figure, known["block"], known["auc"], "harmful against benign", BENIGN, markers=True)
    borderline = table[np.isfinite(table["auc_borderline"])]
    if len(borderline):
        name = "harmful against borderline"
        add_line(figure, borderline["block"], borderline["auc_borderline"], name, BORDERLINE, markers=True)
    add_line(figure, known["block"], known["auc_chance"], "shuffled labels, 95th percentile", BASE, dash="dash")
    figure.update_xaxes(autorangeoptions={"minallowed": None, "include": None})
    figure.update_yaxes(range=[0.2, 1.03])
    if len(known) < FEW_BLOCKS:
        figure.update_xaxes(tickvals=list(known["block"]))
    return figure


def recorded_figure(content: Mapping[str, Any]) -> go.Figure:
    """Curves of a file: {"x", "y": titles of the axes, "log": whether y counts powers of ten (no unless given),
    "curves": [{"name", "steps", "values"}, ...]}."""
    x_title = escaped(str(content["x"]))
    figure = blank_figure("", escaped(str(content["y"])), x_title=x_title, height=HEIGHT)
    figure.update_xaxes(autorangeoptions={"minallowed": None, "include": None})
    for number, curve in enumerate(content["curves"]):
        name = escaped(str(curve["name"]))
        add_line(figure, curve["steps"], curve["values"], name, run_colour(number), markers=True)
    if content.get("log"):
        figure.update_yaxes(type="log", dtick=1, exponentformat="power")
    return figure


def _mean(blocks: Mapping[str, float]) -> float:
    return sum(blocks.values()) / len(blocks) if blocks else float("nan")
