"""The page of a replay bundle: one HTML file that holds its content, its script, its style and plotly's script once.

Nothing is fetched: the page forbids it to itself. Knows nothing of runs.
"""

import json
from html import escape
from importlib.resources import files
from typing import Any

from plotly.offline import get_plotlyjs

from engine.figures.evaluation.table import STYLE

SCRIPTS = ("figures.js", "texts.js", "bundle.js")


def page_html(content: dict[str, Any]) -> str:
    """content: as `bundle_content` gathers it. What it holds may be any text: none of it is read as markup."""
    parts = {
        "title": escape(f"{content['about']['name']}: replay of a training run"),
        "style": _text("bundle.css") + STYLE,
        "content": _in_script(content),
        "library": get_plotlyjs(),
        "script": "\n".join(map(_text, SCRIPTS)),
    }
    html = _text("bundle.html")
    # Each place is filled once, in the order of the file: what a part holds is never searched for places.
    pieces = []
    for name, value in parts.items():
        before, _, html = html.partition(f"{{{{{name}}}}}")
        pieces += [before, value]
    return "".join([*pieces, html])


def _in_script(content: dict[str, Any]) -> str:
    """JSON that no text within can end: '<' is written as its number."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _text(name: str) -> str:
    return (files("engine.exports.bundle") / "page" / name).read_text(encoding="utf-8")
