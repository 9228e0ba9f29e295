"""A strip of cosines: a dot a prompt, by label. Knows nothing of Streamlit or files."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from engine.figures.colours import BASE
from engine.figures.labels import escaped
from workbench.kit.plane_figures import COLOURS, SYMBOLS


def strip_figure(
    groups: Sequence[str], cosines: Sequence[float], names: Sequence[str], *, height: int = 250
) -> go.Figure:
    """A dot a prompt: cosine between base and circuit-broken. Before it is 1 for all."""
    table = pd.DataFrame({"group": groups, "cosine": cosines, "name": names}).dropna()
    shown = [group for group in COLOURS if (table["group"] == group).any()]
    figure, means = go.Figure(), []
    figure.add_hline(y=1, line={"color": BASE, "dash": "dash", "width": 1.5})
    figure.add_annotation(
        x=len(shown) - 0.5, y=1.08, text="before: 1", showarrow=False, xanchor="right", font={"size": 12}
    )
    for place, group in enumerate(shown):
        rows = table[table["group"] == group]
        figure.add_scatter(
            x=place + np.random.default_rng(0).uniform(-0.24, 0.24, len(rows)),
            y=rows["cosine"],
            mode="markers",
            marker={"color": COLOURS[group], "symbol": SYMBOLS[group], "size": 7, "opacity": 0.5},
            customdata=[[escaped(name)] for name in rows["name"]],
            hovertemplate="%{customdata[0]}: %{y:.2f}<extra></extra>",
        )
        mean = float(rows["cosine"].mean())
        figure.add_scatter(
            x=[place - 0.34, place + 0.34],
            y=[mean, mean],
            mode="lines",
            line={"color": COLOURS[group], "width": 4},
            hoverinfo="skip",
        )
        means.append(f"{group}<br><b>{mean:.2f}</b>")
    low = min(-0.1, float(table["cosine"].min()) - 0.05) if len(table) else -0.1
    places = list(range(len(shown)))
    figure.update_xaxes(tickvals=places, ticktext=means, range=[-0.5, len(shown) - 0.5], showgrid=False, zeroline=False)
    figure.update_yaxes(title_text="cosine with base", range=[low, 1.16], autorange=False, automargin=True)
    return figure.update_layout(
        height=height, margin={"l": 8, "r": 8, "t": 8, "b": 8}, showlegend=False, hovermode="closest", dragmode="pan"
    )
