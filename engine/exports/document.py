"""An HTML file that needs nothing else: its head and style, and charts with plotly's script once. Knows no content."""

from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go

from engine.figures.drawing import exported
from engine.figures.evaluation.table import STYLE

_STYLE = (
    "body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; "
    "color: #1f2933; background: #ffffff; } .wide { overflow-x: auto; } "
    ".about { font-size: 0.9rem; border-collapse: collapse; } "
    ".about th { text-align: left; padding: 0 1.2rem 0.2rem 0; vertical-align: top; white-space: nowrap; } "
    ".about td { padding: 0 1.6rem 0.2rem 0; vertical-align: top; overflow-wrap: anywhere; } "
)


def document(title: str, parts: Sequence[str]) -> str:
    """parts: HTML, escaped by whoever made it."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}{STYLE}</style></head><body>{''.join(parts)}</body></html>"
    )


def charts(figures: Sequence[go.Figure]) -> list[str]:
    """The library is written into the file once, so that it opens without a network."""
    return [
        str(exported(figure).to_html(full_html=False, include_plotlyjs=place == 0, config={"displaylogo": False}))
        for place, figure in enumerate(figures)
    ]


def about_table(rows: dict[str, Sequence[str]]) -> str:
    """A heading a row, then a cell for each of what is told about."""
    lines = "".join(
        f"<tr><th>{escape(head)}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
        for head, cells in rows.items()
    )
    return f'<div class="wide"><table class="about">{lines}</table></div>'
