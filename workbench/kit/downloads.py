"""A figure's files: PNG by the camera in its corner, HTML and its table by buttons. Knows nothing of what it shows.

The HTML has a light ground, room for all labels, and a camera of its own.
"""

import io
import time
from collections.abc import Callable
from html import escape
from typing import Any, Literal

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from engine.figures.drawing import CONFIG, exported
from engine.records.spec import RunSpec
from workbench.kit.words import spreadsheet_cell


def picture_config(file: str, **more: Any) -> dict[str, Any]:
    """Plotly's settings for a figure whose camera writes FILE.png; the tool bar stays in sight."""
    picture = {"format": "png", "filename": file, "scale": 2}
    return CONFIG | {"toImageButtonOptions": picture, "displayModeBar": True} | more


def file_buttons(figure: go.Figure | None, table: pd.DataFrame, *, file: str) -> None:
    """Buttons that make their file when pressed. The HTML holds the chart library, so that it opens without network."""
    with st.container(horizontal=True, vertical_alignment="center", key=f"files_{file}", gap="small"):
        if figure is not None:
            said = "For a PNG press the camera above the figure; the HTML file has a light ground, and a camera too."
            st.caption(said, width="content")
            file_button("HTML", lambda: figure_html(figure, file=file), f"{file}.html", "text/html")
        file_button("CSV", lambda: csv_of(table), f"{file}.csv", "text/csv")
        file_button("Parquet", lambda: _parquet(table), f"{file}.parquet", "application/vnd.apache.parquet")


def csv_of(table: pd.DataFrame) -> str:
    """A table as CSV; words that a spreadsheet would take for a formula are quoted, also in its headings."""
    return table.map(spreadsheet_cell).rename(columns=spreadsheet_cell).to_csv(index=False)


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


def file_button(
    label: str,
    make: Callable[[], bytes | str],
    file: str,
    mime: str,
    *,
    width: Literal["content", "stretch"] = "content",
) -> None:
    """A button whose file is made when it is pressed."""
    st.download_button(
        label,
        make,
        file_name=file,
        mime=mime,
        key=f"download_{file}",
        icon=":material/download:",
        on_click="ignore",
        type="tertiary",
        width=width,
    )


def spec_button(spec: RunSpec, *, key: str, label: str = "Download", help_text: str | None = None) -> None:
    """A spec as a file that trains the same run elsewhere."""
    st.download_button(
        label,
        spec.to_json(),
        file_name=f"spec-{spec.digest}.json",
        mime="application/json",
        key=key,
        icon=":material/download:",
        on_click="ignore",
        help=help_text,
    )


def _parquet(table: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()
