"""How an attack on pixels went: the loss of its target over the steps, a line a restart. No Streamlit, no files."""

import plotly.graph_objects as go

from engine.figures.colours import HARMFUL, run_colour
from engine.figures.drawing import add_line, blank_figure
from engine.records.picture_attacks import PixelCourse

MARK = "answered"


def pixel_losses(course: PixelCourse) -> go.Figure:
    """Low: the target's words are likely. Marks: where the models answered, at the lowest loss so far."""
    figure = blank_figure("Loss of the target", "nats a token")
    restarts = sorted({one.restart for one in course.steps})
    for restart in restarts:
        steps = [one for one in course.steps if one.restart == restart]
        # Each restart begins where the one before ended.
        before = len([one for one in course.steps if one.restart < restart])
        places = [before + one.step for one in steps]
        name = "loss" if len(restarts) == 1 else f"restart {restart + 1}"
        add_line(figure, places, [one.loss for one in steps], name, run_colour(restart))
    if course.answers:
        figure.add_scatter(
            x=[one.done - 1 for one in course.answers],
            y=[one.loss for one in course.answers],
            name=MARK,
            mode="markers",
            marker={"size": 9, "symbol": "diamond", "color": HARMFUL},
            hovertemplate="lowest so far: %{y:.4g}",
        )
    return figure
