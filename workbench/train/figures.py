"""The figures of the Train form. Knows nothing of Streamlit; loads no tables library, so that the form opens fast."""

from collections.abc import Callable

import numpy as np
import plotly.graph_objects as go

from engine.figures.colours import BENIGN, HARMFUL, REROUTE, RETAIN
from engine.figures.drawing import add_line, blank_figure
from engine.records.cards import DataCard


def schedule_figure(weights: Callable[[int], tuple[float, float]], steps: int) -> go.Figure:
    """Both weights over the steps of a run; `weights(step)` gives (rerouting, retain), steps counted from 0."""
    figure = blank_figure("", "weight", height=230)
    sample = np.unique(np.linspace(0, max(0, steps - 1), min(steps, 400)).round().astype(int))
    reroute, retain = zip(*(weights(int(step)) for step in sample), strict=True)
    add_line(figure, sample, reroute, "rerouting", REROUTE)
    add_line(figure, sample, retain, "retain", RETAIN, dash="dash")
    figure.update_yaxes(rangemode="tozero")
    return figure


def token_figure(card: DataCard, *, harmful: bool) -> go.Figure:
    """How long the prompts are, in tokens."""
    figure = blank_figure("", "prompts", x_title="tokens of a prompt", height=170)
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
