"""Evaluations as one HTML file that needs nothing else: tables, curves, how it was done. No Streamlit.

It holds figures alone, never a request or an answer: it may be passed on.
"""

from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go

from engine.records.evaluation.attacks import ATTACKS, KNOWN_DEFEATS
from engine.records.evaluation.findings import Evaluation
from workbench.evaluate.figures import budget_figures, front_figure
from workbench.evaluate.table import STYLE, abilities_html, attacks_html, columns, key_html, styles_html
from workbench.kit.words import moment


def report_html(evaluations: Sequence[Evaluation], names: Sequence[str]) -> str:
    shown = columns(evaluations, names)
    figures = list(budget_figures(evaluations, names).values())
    front = front_figure(evaluations, names)
    charts = [*([front] if front else []), *figures]
    attacks = [name for name in ATTACKS if any(name in one.attacks for one in evaluations)]
    parts = [
        "<h1>Does it hold?</h1>",
        f"<p>{escape(KNOWN_DEFEATS)}</p>",
        "<h2>Harmful requests that were answered</h2>",
        key_html(),
        attacks_html(shown),
        *(["<h3>Each wording apart</h3>", styles] if (styles := styles_html(shown)) else []),
        "<h2>What was kept</h2>",
        abilities_html(shown),
        *(_chart(one, first=index == 0) for index, one in enumerate(charts)),
        "<h2>Attacks</h2><ul>",
        *(f"<li><b>{escape(ATTACKS[name].title)}</b>: {escape(ATTACKS[name].about)}</li>" for name in attacks),
        "</ul><h2>How</h2><ul>",
        *(f"<li>{_how(one, name)}</li>" for one, name in zip(evaluations, names, strict=True)),
        "</ul>",
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Evaluation</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }}"
        f"{STYLE}</style></head><body>{''.join(parts)}</body></html>"
    )


def _how(one: Evaluation, name: str) -> str:
    return escape(
        f"{name} ({one.run}): harmful rows {one.harmful}, benign rows {one.benign}, answers of {one.new_tokens} "
        f"tokens, judge {one.judge}, seed {one.seed}, {moment(one.created)}. Rates are shares that complied, with "
        "95 % Wilson intervals; verdicts that could not be read are left out of n."
    )


def _chart(figure: go.Figure, *, first: bool) -> str:
    """The library is written into the file once, so that it opens without a network."""
    return str(figure.to_html(full_html=False, include_plotlyjs=first, config={"displaylogo": False}))
