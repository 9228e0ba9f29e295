"""Figures' common ground: an empty figure in the style of all, a curve, the user's ranges. No Streamlit, no tables."""

import json
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

POINTS = 2000
# Of a figure in a file, in pixels: the width it is laid out for, its height without one, what margins add, a letter.
EXPORT_WIDTH = 900
EXPORT_HEIGHT = 460
EXPORT_ROOM = 70
LETTER = 8
LEGEND_LINE = 24
PROJECTED = 1.5
"""How much larger text and dots of figures are on a projector."""
HEIGHT_GROWTH = 1.25
FONT = 12
CONFIG = {"displaylogo": False, "doubleClick": "autosize"}


def blank_figure(title: str, y_title: str, *, x_title: str = "step", height: int = 270) -> go.Figure:
    """An empty figure in the style of all: title above, legend in one line, axes that fit the data."""
    layout = {
        "height": height,
        "margin": {"l": 8, "r": 8, "t": 58 if title else 30, "b": 8},
        "hovermode": "x unified",
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0, "xanchor": "left"},
        "dragmode": "zoom",
        "xaxis": {
            "title": {"text": x_title},
            "automargin": True,
            "autorangeoptions": {"minallowed": 0, "include": [0, 10]},
        },
        "yaxis": {"title": {"text": y_title}, "automargin": True},
    }
    if title:
        layout["title"] = {"text": title, "font": {"size": 14}, "x": 0, "y": 0.97, "yanchor": "top"}
    # At once: each update of a figure costs more than all of this.
    return go.Figure(layout=layout)


def add_line(
    figure: go.Figure,
    steps: ArrayLike,
    values: ArrayLike,
    name: str,
    colour: str,
    *,
    dash: str = "solid",
    width: float = 2,
    markers: bool = False,
    legend: bool = True,
) -> None:
    """One curve over the steps, thinned to what a screen can show."""
    values = np.asarray(values, dtype=float)
    kept = thin(values)
    figure.add_scatter(
        x=np.asarray(steps)[kept],
        y=values[kept],
        name=name,
        mode="lines+markers" if markers or len(kept) < 3 else "lines",
        line={"color": colour, "width": width, "dash": dash},
        marker={"size": 6, "color": colour},
        showlegend=legend,
        hovertemplate="%{y:.4g}" if figure.layout.hovermode == "x unified" else f"{name}: %{{y:.4g}}<extra></extra>",
    )


def legend_below(figure: go.Figure) -> None:
    """A line for each name below the axis, with room for it: above, long names lie over the title in a narrow
    window."""
    names = sum(trace.showlegend is not False for trace in figure.data)
    legend = {"orientation": "v", "yanchor": "top", "y": -0.28}
    figure.update_layout(height=figure.layout.height + LEGEND_LINE * names, showlegend=True, legend=legend)


def exported(figure: go.Figure, *, title: str = "") -> go.Figure:
    """The figure as it stands outside the app, where no theme helps it: light ground, room for all labels, long titles
    in lines. title: for a figure that has none."""
    shown = go.Figure(figure)
    given, height = shown.layout.margin, int(shown.layout.height or EXPORT_HEIGHT) + EXPORT_ROOM
    shown.update_layout(
        template="plotly_white",
        paper_bgcolor="white",
        plot_bgcolor="white",
        font={"color": "#1f2933", "family": "Helvetica, Arial, sans-serif"},
        height=height,
        margin={side: max(least, given[side] or 0) for side, least in {"l": 76, "r": 36, "t": 84, "b": 72}.items()},
    )
    text = shown.layout.title.text or title
    if text:
        shown.update_layout(
            title={
                "text": _in_lines(text, EXPORT_WIDTH),
                "x": 0.01,
                "y": 0.98,
                "yref": "container",
                "yanchor": "top",
                "pad": {"t": 12},
            }
        )
    inside = height - 84 - 72
    for axes, pixels in ((shown.select_xaxes(), EXPORT_WIDTH), (shown.select_yaxes(), inside)):
        for axis in axes:
            low, high = axis.domain or (0, 1)
            axis.automargin = True
            if axis.title.text:
                axis.title.text = _in_lines(axis.title.text, pixels * (high - low))
                axis.title.standoff = 14
    return shown


def figure_content(figure: go.Figure) -> dict[str, Any]:
    """A figure as plotly's script reads it, without a theme: where it is drawn has its own."""
    bare = go.Figure(figure)
    bare.layout.template = None
    return json.loads(bare.to_json())


def _in_lines(text: str, pixels: float) -> str:
    """A title broken between words where it would be longer than its axis; what has lines or tags is left."""
    if "<" in text:
        return text
    return "<br>".join(textwrap.wrap(text, max(12, int(pixels / LETTER)))) or text


def with_ranges(figure: go.Figure, ranges: Mapping[str, Any] | None) -> go.Figure:
    """The figure as the user turned it: ranges {'x': [low, high], 'y': [low, high]}, a missing axis fits the data; and
    cameras of 3D scenes {'scene': camera, 'scene2': camera}."""
    for axis, update in (("x", figure.update_xaxes), ("y", figure.update_yaxes)):
        chosen = (ranges or {}).get(axis)
        if chosen:
            update(range=list(chosen), autorange=False)
    for scene in ("scene", "scene2"):
        camera = (ranges or {}).get(scene)
        if camera and scene in figure.layout:
            figure.layout[scene].camera = camera
    return figure


def enlarged(figure: go.Figure, scale: float = PROJECTED) -> go.Figure:
    """A copy that is read from the last row: text, markers, lines and height grow; the one that is given stays."""
    large = go.Figure(figure)
    text = round(FONT * scale)
    large.update_layout(
        font={"size": text},
        title={"font": {"size": text + 2}},
        legend={"font": {"size": text}, "itemsizing": "constant"},
        hoverlabel={"font": {"size": text}},
        height=round((figure.layout.height or 450) * HEIGHT_GROWTH),
    )
    for update in (large.update_xaxes, large.update_yaxes):
        update(tickfont={"size": text}, title={"font": {"size": text}}, automargin=True)
    large.update_coloraxes(colorbar={"tickfont": {"size": text}, "title": {"font": {"size": text}}})
    large.for_each_annotation(lambda note: note.update(font={"size": round((note.font.size or FONT) * scale)}))
    for trace in large.data:
        for part, name, usual in (("marker", "size", 6), ("line", "width", 2)):
            if part in trace and trace[part] is not None and name in trace[part]:
                trace[part][name] = _grown(trace[part][name], scale, usual)
    return large


def thin(values: np.ndarray, limit: int = POINTS) -> np.ndarray:
    """Positions of at most about `limit` values that keep every peak and dip: each bucket's least and greatest, and
    both ends."""
    count = len(values)
    if count <= limit:
        return np.arange(count)
    width = -(-count // (limit // 2))
    filled = np.pad(np.nan_to_num(values, nan=0.0), (0, -count % width), mode="edge").reshape(-1, width)
    starts = np.arange(len(filled)) * width
    kept = np.concatenate([starts + filled.argmin(axis=1), starts + filled.argmax(axis=1), [0, count - 1]])
    return np.unique(kept.clip(max=count - 1))


def _grown(size: Any, scale: float, usual: float) -> Any:
    """One size, or a size a point."""
    if size is None:
        return usual * scale
    return size * scale if isinstance(size, int | float) else np.asarray(size, dtype=float) * scale
