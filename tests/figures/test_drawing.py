"""A thinned curve keeps ends, peaks and dips; a figure for a projector grows; every figure passes the one place."""

import re

import numpy as np
import plotly.graph_objects as go
import pytest

from engine.figures.drawing import add_line, blank_figure, enlarged, thin
from engine.records.settings import ROOT


@pytest.mark.parametrize("count", [1, 20, 21, 39, 57, 1000])
def test_a_thinned_curve_keeps_ends_peaks_and_dips(count):
    values = np.random.default_rng(count).normal(size=count)
    values[count // 3] = np.nan
    kept = thin(values, limit=20)
    assert (np.diff(kept) > 0).all() and kept[0] == 0 and kept[-1] == count - 1
    if count <= 20:
        assert len(kept) == count
        return
    assert len(kept) <= 22
    assert {int(np.nanargmin(values)), int(np.nanargmax(values))} <= set(kept.tolist())
    # No stretch of two buckets is left without a point.
    assert np.diff(kept).max() <= 2 * -(-count // 10)


def test_a_figure_for_a_projector_is_half_as_large_again_and_the_given_one_stays():
    figure = blank_figure("losses", "loss", height=200)
    add_line(figure, [0, 1, 2, 3], [1.0, 0.5, 0.4, 0.3], "rerouting", "#0072B2", width=2, markers=True)
    figure.add_scatter(x=[0, 1], y=[0, 1], marker={"size": [4, 8]})
    figure.add_annotation(text="here", font={"size": 10})
    large = enlarged(figure)
    assert large.data[0].marker.size == 9 and large.data[0].line.width == 3
    assert list(large.data[1].marker.size) == [6, 12]
    assert large.layout.font.size == 18 and large.layout.xaxis.tickfont.size == 18
    assert large.layout.annotations[0].font.size == 15 and large.layout.height == 250
    assert figure.data[0].marker.size == 6 and figure.layout.height == 200


def test_what_has_no_size_of_its_own_is_enlarged_too():
    figure = enlarged(go.Figure(go.Scatter(x=[0], y=[0])))
    assert figure.data[0].marker.size == 9
    assert enlarged(go.Figure(go.Heatmap(z=[[1]]))).layout.height == 562


def test_every_figure_on_the_screen_passes_the_one_place():
    """`st.plotly_chart(on_screen(figure), ...)`: a figure that goes round it stays small on a projector."""
    calls = 0
    for folder in ("pages", "workbench"):
        for file in (ROOT / folder).rglob("*.py"):
            if file.name == "charts.py":
                continue
            for call in re.findall(r"\.plotly_chart\(\s*(\w*)", file.read_text()):
                calls += 1
                assert call == "on_screen", file
    assert calls >= 10
