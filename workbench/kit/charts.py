"""The one place that every plotly figure passes on its way to the screen: larger for a projector where that is on.

Knows the session, and nothing of what figures show. Files that are downloaded do not pass here.
"""

import plotly.graph_objects as go

from engine.figures.drawing import enlarged
from workbench.kit.state import projects


def on_screen(figure: go.Figure) -> go.Figure:
    """The figure as this screen draws it: `st.plotly_chart(on_screen(figure), ...)`."""
    return enlarged(figure) if projects() else figure
