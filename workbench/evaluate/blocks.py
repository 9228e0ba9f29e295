"""What was found on requests of another kind than plain text, and on other people's words: sentences, table, curves."""

from collections.abc import Sequence

import plotly.graph_objects as go
import streamlit as st

from engine.figures.drawing import CONFIG
from engine.figures.evaluation.agent_front import agent_front
from engine.figures.evaluation.agents import ABOUT as ABOUT_AGENTS
from engine.figures.evaluation.agents import agents_finding, agents_html
from engine.figures.evaluation.others import ABOUT as ABOUT_OTHERS
from engine.figures.evaluation.others import others_finding, others_fronts, others_html
from engine.figures.evaluation.pictures import ABOUT as ABOUT_PICTURES
from engine.figures.evaluation.pictures import pictures_finding, pictures_html
from engine.figures.evaluation.table import key_html
from engine.records.evaluation.findings import Evaluation
from engine.records.runs import Run
from workbench.evaluate.picture_curves import perturbations, picture_curves
from workbench.kit.charts import on_screen
from workbench.kit.words import plain


def of_agents(evaluations: list[Evaluation], names: list[str], *, titled: bool) -> None:
    """What became of requests that offer tools, where some were asked. titled: whether something stands above it."""
    if html := agents_html(evaluations, names):
        said = [agents_finding(one) for one in evaluations]
        _block("Agents" if titled else "", html, said, names, ABOUT_AGENTS)
        _front(agent_front(evaluations, names), "agent_front", "Harmful calls broken against right calls kept.")


def of_pictures(shown: Sequence[tuple[Run, Evaluation, str]], *, titled: bool) -> None:
    """What became of requests that show pictures, where some were asked. shown: each with its run and its name."""
    evaluations, names = [one for _, one, _ in shown], [name for _, _, name in shown]
    if html := pictures_html(evaluations, names):
        said = [pictures_finding(one) for one in evaluations]
        _block("Pictures" if titled else "", html, said, names, ABOUT_PICTURES)
        picture_curves(evaluations, names)
        perturbations(shown)


def of_others(evaluations: list[Evaluation], names: list[str]) -> None:
    """What became of other people's words, where some were asked."""
    if html := others_html(evaluations, names):
        said = [others_finding(one) for one in evaluations]
        _block("Other people's words", html, said, names, ABOUT_OTHERS)
        for place, figure in enumerate(others_fronts(evaluations, names)):
            _front(figure, f"others_front_{place}", "Harm left against borderline requests kept.")


def _block(title: str, html: str, findings: list[str], names: list[str], about: str) -> None:
    """title: '' where it stands first and the page's title is its."""
    if title:
        st.subheader(title, anchor=False)
    for said, name in zip(findings, names, strict=True):
        if said:
            st.markdown(plain(said) if len(names) == 1 else f"**{plain(name)}**: {plain(said)}")
    if not title:
        st.html(key_html())
    st.html(f'<div style="overflow-x:auto">{html}</div>')
    st.caption(plain(about))


def _front(figure: go.Figure | None, key: str, about: str) -> None:
    if figure is not None:
        alt = f"{about} {figure.layout.title.text}"
        st.plotly_chart(on_screen(figure), key=key, config=CONFIG, alt=alt)
