"""Figures over blocks: separation in the base model, movement over the steps, tokens of one answer. No Streamlit.

What a point carries is given as lists: arrays of numbers travel packed, and a click would send them back unreadable.
"""

from collections.abc import Sequence
from textwrap import wrap

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from engine.figures.colours import BASE, BENIGN, BORDERLINE, HARMFUL, MEAN, NEUTRAL
from engine.figures.labels import escaped, token_name
from engine.records.captures.projections import TokenView

# Cool is what stayed where it was (cosine 1), warm what was turned away.
SCALE = ((0, HARMFUL), (0.5, "#E6E2DA"), (1, BENIGN))
BAND = "rgba(213, 94, 0, 0.14)"


# Violet: a norm that fell. Orange: one that grew. White: one that stayed.
RATIO_SCALE = ((0, "#5E3C99"), (0.25, "#B2ABD2"), (0.5, "#FFFFFF"), (0.75, "#FDB863"), (1, "#B35806"))
LINE_LETTERS = 66
LINE_PIXELS = 20
# The camera and its neighbours stand above the title.
TOOLS_PIXELS = 34


def separation_figure(table: pd.DataFrame, targets: Sequence[int], *, finding: str = "") -> go.Figure:
    """Three charts over the blocks of the base model; the suggested targets are marked. Every point can be clicked.

    AUCs have a band, their interval, and a dotted line, what shuffled labels reach; those of version 0.1 have none.
    """
    figure = make_subplots(
        rows=3,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.09,
        row_heights=[0.42, 0.29, 0.29],
        subplot_titles=(
            "Held-out AUC of a probe; band: 95 % interval; dotted: shuffled labels",
            "Distance of the centroids, harmful and benign",
            "Share of energy in the three largest dimensions",
        ),
    )
    _titles_left(figure)
    lines = (
        (1, "auc", "harmful against benign", HARMFUL, "circle"),
        (1, "auc_borderline", "harmful against borderline", BORDERLINE, "diamond"),
        (2, "distance", "distance", NEUTRAL, "circle"),
        (3, "top_energy", "share of energy", MEAN, "circle"),
    )
    for column, colour in (("auc", HARMFUL), ("auc_borderline", BORDERLINE)):
        _add_certainty(figure, table, column, colour)
    for row, column, name, colour, symbol in lines:
        figure.add_scatter(
            x=table["block"],
            y=table[column],
            name=name,
            mode="lines+markers",
            line={"color": colour, "width": 2},
            marker={"color": colour, "symbol": symbol, "size": 8},
            showlegend=row == 1,
            customdata=table[["block"]].to_numpy().tolist(),
            hovertemplate=f"block %{{x}}: {name} %{{y:.3f}}<extra></extra>",
            selected={"marker": {"opacity": 1}},
            unselected={"marker": {"opacity": 1}},
            row=row,
            col=1,
        )
    for block in targets:
        figure.add_vrect(x0=block - 0.4, x1=block + 0.4, fillcolor=BAND, line_width=0, layer="below")
    figure.add_hline(y=0.5, line={"color": BASE, "dash": "dot", "width": 1}, row=1, col=1)
    figure.update_yaxes(title_text="AUC", row=1, col=1)
    figure.update_yaxes(title_text="deviations", rangemode="tozero", row=2, col=1)
    figure.update_yaxes(title_text="share", range=[0, 1.04], row=3, col=1)
    ends = [float(table["block"].min()) - 0.6, float(table["block"].max()) + 0.6]
    figure.update_xaxes(range=ends, autorange=False, dtick=_every(len(table), 40))
    figure.update_xaxes(title_text="block", row=3, col=1)
    return _titled(_styled(figure, height=640), finding)


def _add_certainty(figure: go.Figure, table: pd.DataFrame, column: str, colour: str) -> None:
    """The interval as a band and the level of chance as a dotted line, where they are known."""
    names = [f"{column}_low", f"{column}_high", f"{column}_chance"]
    if any(name not in table or table[name].isna().all() for name in names):
        return
    low, high, chance = (table[name] for name in names)
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    common = {"x": table["block"], "showlegend": False, "hoverinfo": "skip", "mode": "lines"}
    figure.add_scatter(**common, y=high, line={"width": 0}, row=1, col=1)
    fill = f"rgba({red}, {green}, {blue}, 0.16)"
    figure.add_scatter(**common, y=low, line={"width": 0}, fill="tonexty", fillcolor=fill, row=1, col=1)
    figure.add_scatter(**common, y=chance, line={"width": 1.5, "dash": "dot", "color": colour}, row=1, col=1)


def movement_figure(table: pd.DataFrame, *, finding: str = "") -> go.Figure:
    """Block x step: mean cosine between base and rerouted activations, harmful left, benign right. Cells can be
    clicked: a heat map cannot report a click, so that an unseen marker lies on each cell."""
    groups = [group for group in ("harmful", "benign", "borderline") if (table["group"] == group).any()]
    figure = make_subplots(
        rows=1,
        cols=len(groups),
        shared_yaxes=True,
        horizontal_spacing=0.03,
        subplot_titles=[_with_count(table, group) for group in groups],
    )
    low = min(0.0, float(np.nanmin(table["cosine"])) if table["cosine"].notna().any() else 0.0)
    for column, group in enumerate(groups, start=1):
        cells = table[table["group"] == group].pivot(index="block", columns="step", values="cosine")
        steps, blocks = [str(step) for step in cells.columns], [str(block) for block in cells.index]
        figure.add_heatmap(
            x=steps, y=blocks, z=cells.to_numpy(), coloraxis="coloraxis", hoverinfo="skip", row=1, col=column
        )
        figure.add_scatter(
            x=np.tile(steps, len(blocks)),
            y=np.repeat(blocks, len(steps)),
            mode="markers",
            marker={"size": 14, "opacity": 0, "symbol": "square"},
            selected={"marker": {"opacity": 0}},
            unselected={"marker": {"opacity": 0}},
            customdata=np.column_stack(
                [np.repeat(cells.index, len(steps)), np.tile(cells.columns, len(blocks)), np.ravel(cells)]
            ).tolist(),
            hovertemplate=f"{group}, block %{{y}}, step %{{x}}: %{{customdata[2]:.3f}}<extra></extra>",
            showlegend=False,
            row=1,
            col=column,
        )
    figure.update_xaxes(title_text="step", type="category", ticks="")
    named = [str(block) for block in sorted(table["block"].unique())]
    figure.update_yaxes(type="category", tickvals=named[:: _every(len(named), 16)], ticks="")
    figure.update_yaxes(title_text="block", col=1)
    figure.update_layout(coloraxis={"colorscale": SCALE, "cmin": low, "cmax": 1, "colorbar": _bar("cosine")})
    return _titled(_styled(figure, height=500), finding).update_layout(hoverdistance=-1)


def _with_count(table: pd.DataFrame, group: str) -> str:
    return f"{group} (n = {int(table.loc[table['group'] == group, 'prompts'].max())})"


def token_figure(view: TokenView, *, trip: int | None, hidden: bool, targets: Sequence[int]) -> go.Figure:
    """Token x block of one answer: cosine above, how the norm changed below; the tripped token and the start of the
    answer are marked. Token texts are shown unless hidden."""
    figure = make_subplots(
        rows=2,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.17,
        subplot_titles=(
            "Cosine between base and circuit-broken activations",
            "Norm, circuit-broken divided by base (white: unchanged)",
        ),
    )
    _titles_left(figure, shift=18)
    count = len(view.tokens)
    places = list(range(count))
    cosine = np.asarray(view.cosine, dtype=float).reshape(count, -1).T
    before = np.asarray(view.base_norm, dtype=float).reshape(count, -1).T
    after = np.asarray(view.rerouted_norm, dtype=float).reshape(count, -1).T
    ratio = after / np.maximum(before, 1e-9)
    blocks = [f"{block} (target)" if block in targets else str(block) for block in view.blocks]
    start = view.response_start
    # Of a hidden answer the numbers: those of the prompt, then those of the answer, each from 1.
    numbers = [str(place + 1 if place < start else place - start + 1) for place in places]
    texts = numbers if hidden else [escaped(_visible(text)) for text in view.tokens]
    named = [token_name(place, answer_start=start) for place in places]
    named = named if hidden else [f"{name} '{text}'" for name, text in zip(named, texts, strict=True)]
    logarithm = np.log2(np.maximum(ratio, 1e-3))
    for row, values, axis, unit in ((1, cosine, "coloraxis", "cosine"), (2, ratio, "coloraxis2", "norm")):
        figure.add_heatmap(
            x=places,
            y=blocks,
            z=values if row == 1 else logarithm,
            coloraxis=axis,
            customdata=np.dstack([np.tile(np.array(named, dtype=object), (len(blocks), 1)), values]),
            hovertemplate=f"%{{customdata[0]}}, block %{{y}}: {unit} %{{customdata[1]:.3f}}"
            + ("<extra></extra>" if row == 1 else "x<extra></extra>"),
            row=row,
            col=1,
        )
    spread = max(1.0, float(np.nanmax(np.abs(logarithm), initial=1.0)))
    stride = _every(int(spread), 3)
    powers = range(-int(spread) // stride * stride, int(spread) + 1, stride)
    figure.update_layout(
        coloraxis={"colorscale": SCALE, "cmin": min(0.0, float(np.nanmin(cosine, initial=0))), "cmax": 1}
        | {"colorbar": {**_bar("cosine"), "len": 0.42, "y": 0.79}},
        coloraxis2={"colorscale": RATIO_SCALE, "cmin": -spread, "cmid": 0, "cmax": spread}
        | {
            "colorbar": {
                **_bar("norm ratio"),
                "len": 0.42,
                "y": 0.21,
                "tickvals": list(powers),
                "ticktext": [f"{2.0**power:g}x" for power in powers],
            }
        },
    )
    stride = _every(count, 24 if hidden else 40)
    figure.update_xaxes(
        tickvals=places[::stride], ticktext=texts[::stride], tickangle=0 if hidden else -60, showticklabels=True
    )
    unit = "token; prompt and answer are each counted from 1" if hidden else "token"
    figure.update_xaxes(title_text=unit, row=2, col=1)
    ticks = [name for name in blocks if "(" in name]
    ticks += [name for name in blocks[:: _every(len(blocks), 8)] if not _beside(name, targets)]
    figure.update_yaxes(title_text="block", type="category", tickvals=ticks, ticks="")
    _mark(figure, view.response_start - 0.5, "answer begins ", BASE, "dash", anchor="right")
    if trip is not None:
        _mark(
            figure, trip, f" breaker trips at {token_name(trip, answer_start=start)}", HARMFUL, "solid", anchor="left"
        )
    return _styled(figure, height=620)


def _titles_left(figure: go.Figure, *, shift: int = 0) -> None:
    """Titles of stacked charts begin where the charts do, out of the way of what is marked in them."""
    figure.update_annotations(x=0, xanchor="left", font={"size": 13}, yshift=shift)


def _mark(figure: go.Figure, place: float, text: str, colour: str, dash: str, *, anchor: str) -> None:
    figure.add_vline(x=place, line={"color": colour, "width": 2, "dash": dash}, row="all", col=1)
    figure.add_annotation(
        x=place,
        y=1,
        yref="y domain",
        yanchor="bottom",
        xanchor=anchor,
        text=text,
        showarrow=False,
        font={"color": colour, "size": 12},
    )


def _beside(name: str, targets: Sequence[int]) -> bool:
    """Whether a block's label would touch that of a target."""
    return any(abs(int(name.split()[0]) - target) < 2 for target in targets)


def _visible(text: str) -> str:
    """A token as a label: spaces and line breaks can be seen."""
    return text.replace("\n", "↵").replace(" ", "·") or "∅"


def _every(count: int, labels: int) -> int:
    """Name every n-th only, so that at most so many labels stand on an axis."""
    return max(1, -(-count // labels))


def _bar(title: str) -> dict:
    return {"title": {"text": title, "side": "right"}, "thickness": 12}


def _titled(figure: go.Figure, finding: str) -> go.Figure:
    """What the chart shows, above it, in lines that a narrow window has room for; exported files say it too."""
    if not finding:
        return figure
    lines = wrap(finding, LINE_LETTERS)
    height = figure.layout.height + LINE_PIXELS * len(lines) + TOOLS_PIXELS - 8
    place = {"x": 0, "xanchor": "left", "y": 1 - TOOLS_PIXELS / height, "yref": "container", "yanchor": "top"}
    text = "<br>".join(escaped(line) for line in lines)
    return figure.update_layout(
        title={"text": text, "font": {"size": 15}, **place},
        margin={"t": figure.layout.margin.t + LINE_PIXELS * len(lines) + TOOLS_PIXELS - 8},
        height=height,
    )


def _styled(figure: go.Figure, *, height: int) -> go.Figure:
    return figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 66, "b": 8},
        hovermode="closest",
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.06, "x": 0, "xanchor": "left"},
        title={"text": ""},
        dragmode="zoom",
    )
