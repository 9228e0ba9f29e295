"""A figure's files: PNG by the camera in its corner, HTML and its table by buttons. Knows nothing of what it shows."""

import io
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from workbench.kit.drawing import CONFIG


def picture_config(file: str, **more: Any) -> dict[str, Any]:
    """Plotly's settings for a figure whose camera writes FILE.png; the tool bar stays in sight."""
    picture = {"format": "png", "filename": file, "scale": 2}
    return CONFIG | {"toImageButtonOptions": picture, "displayModeBar": True} | more


def file_buttons(figure: go.Figure | None, table: pd.DataFrame, *, file: str) -> None:
    """Buttons that make their file when pressed. The HTML holds the chart library, so that it opens without network."""
    with st.container(horizontal=True, vertical_alignment="center", key=f"files_{file}", gap="small"):
        if figure is not None:
            st.caption("PNG: the camera above the figure.", width="content")
            _button("HTML", lambda: figure.to_html(include_plotlyjs=True), f"{file}.html", "text/html")
        _button("CSV", lambda: table.to_csv(index=False), f"{file}.csv", "text/csv")
        _button("Parquet", lambda: _parquet(table), f"{file}.parquet", "application/vnd.apache.parquet")


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
