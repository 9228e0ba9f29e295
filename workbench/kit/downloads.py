"""A figure's files: PNG by the camera in its corner, HTML and its table by buttons. Knows nothing of what it shows.

The HTML has a light ground, room for all labels, and a camera of its own.
"""

import io
import time
from html import escape
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from workbench.kit.drawing import CONFIG, exported


def picture_config(file: str, **more: Any) -> dict[str, Any]:
    """Plotly's settings for a figure whose camera writes FILE.png; the tool bar stays in sight."""
    picture = {"format": "png", "filename": file, "scale": 2}
    return CONFIG | {"toImageButtonOptions": picture, "displayModeBar": True} | more


def file_buttons(figure: go.Figure | None, table: pd.DataFrame, *, file: str) -> None:
    """Buttons that make their file when pressed. The HTML holds the chart library, so that it opens without network."""
    with st.container(horizontal=True, vertical_alignment="center", key=f"files_{file}", gap="small"):
        if figure is not None:
            st.caption("PNG: the camera above the figure; with a light ground: that in the HTML file.", width="content")
            _button("HTML", lambda: figure_html(figure, file=file), f"{file}.html", "text/html")
        _button("CSV", lambda: table.to_csv(index=False), f"{file}.csv", "text/csv")
        _button("Parquet", lambda: _parquet(table), f"{file}.parquet", "application/vnd.apache.parquet")


def figure_html(figure: go.Figure, *, file: str) -> str:
    """A figure as a page that needs no network and says what it is and when it was made."""
    drawn = exported(figure, title=file.replace("-", " "))
    drawing = drawn.to_html(include_plotlyjs=True, full_html=False, config=picture_config(file))
    made = time.strftime("%Y-%m-%d %H:%M")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(file)}</title></head>'
        '<body style="background:#ffffff; color:#1f2933; font:14px Helvetica, Arial, sans-serif; margin:16px">'
        f"{drawing}<p>{escape(file)}, written {made} by the circuit breaker workbench.</p></body></html>"
    )


def _button(label: str, make: Any, file: str, mime: str) -> None:
    st.download_button(
        label,
        make,
        file_name=file,
        mime=mime,
        key=f"download_{file}",
        icon=":material/download:",
        on_click="ignore",
        type="tertiary",
    )


def _parquet(table: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()
