"""How far each patch of a picture was turned, over the picture. No Streamlit, no files."""

import base64

import plotly.graph_objects as go

from engine.figures.colours import BASE, HARMFUL
from engine.figures.drawing import blank_figure
from engine.records.chats.replies import PictureTrip

HEIGHT = 380
_TURNED = ",".join(str(int(HARMFUL[place : place + 2], 16)) for place in (1, 3, 5))
# Clear where nothing moved, so that the picture is seen there.
OVER_PICTURE = [[0.0, f"rgba({_TURNED},0.88)"], [1.0, f"rgba({_TURNED},0)"]]


def patches_figure(trip: PictureTrip, block: int, *, size: tuple[int, int], png: bytes, title: str) -> go.Figure:
    """The patches of one block. size: width and height of the picture in pixels.  png: the picture; empty for none: the
    patches are drawn without it."""
    width, height = size
    left, top, right, bottom = trip.box
    columns = [width * (left + (right - left) * (place + 0.5) / trip.side) for place in range(trip.side)]
    rows = [height * (top + (bottom - top) * (place + 0.5) / trip.side) for place in range(trip.side)]
    cosines = patch_rows(trip, block)
    figure = blank_figure(title, "", x_title="", height=HEIGHT)
    figure.add_heatmap(
        x=columns,
        y=rows,
        z=cosines,
        colorscale=OVER_PICTURE,
        zmin=min(0.0, *map(min, cosines)),
        zmax=1,
        colorbar={"title": {"text": "cosine"}, "thickness": 14},
        customdata=[[[row + 1, column + 1] for column in range(trip.side)] for row in range(trip.side)],
        hovertemplate="row %{customdata[0]}, column %{customdata[1]}: cosine %{z:.3f}<extra></extra>",
    )
    if png:
        source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
        place = {"x": 0, "y": 0, "sizex": width, "sizey": height, "xref": "x", "yref": "y", "yanchor": "top"}
        figure.add_layout_image(source=source, layer="below", sizing="stretch", **place)
    # A picture without its frame would be a hole where nothing was turned.
    figure.add_shape(type="rect", x0=0, x1=width, y0=0, y1=height, line={"width": 1, "color": BASE})
    if trip.box != (0, 0, 1, 1):
        corners = {"x0": left * width, "x1": right * width, "y0": top * height, "y1": bottom * height}
        figure.add_shape(type="rect", line={"dash": "dot", "width": 1.5, "color": HARMFUL}, **corners)
    figure.update_layout(hovermode="closest", dragmode=False)
    figure.update_xaxes(range=[0, width], visible=False, constrain="domain", autorange=False)
    figure.update_yaxes(range=[height, 0], visible=False, scaleanchor="x", constrain="domain", autorange=False)
    return figure


def patch_rows(trip: PictureTrip, block: int) -> list[list[float]]:
    """The cosines of one block, a list a row of patches."""
    cosines = trip.cosines[block]
    return [list(cosines[start : start + trip.side]) for start in range(0, trip.side**2, trip.side)]
