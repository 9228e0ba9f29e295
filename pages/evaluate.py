"""Evaluate: does a circuit breaker hold under attack, and what did it cost (?run=ID shows one run's evaluations)."""

from pathlib import Path

import streamlit as st

from engine.exports.evaluation_report import report_html, run_facts
from engine.figures.drawing import CONFIG
from engine.figures.evaluation.findings import (
    asked_text,
    asks_others_alone,
    finding,
    only_abilities,
    requests_asked,
)
from engine.figures.evaluation.fronts import budget_figures, front_figure
from engine.figures.evaluation.probe import ABOUT, probe_finding, probe_html, probe_title
from engine.figures.evaluation.table import STYLE, attacks_html, columns, columns_without_text, key_html, styles_html
from engine.records.errors import WorkbenchError
from engine.records.evaluation.attacks import ATTACKS, KNOWN_DEFEATS
from engine.records.evaluation.counts import FEW
from engine.records.evaluation.findings import Evaluation, sorted_out
from engine.records.runs import list_runs, open_run
from workbench.evaluate.blocks import of_agents, of_others, of_pictures
from workbench.evaluate.csv_text import as_csv
from workbench.evaluate.form import evaluation_form
from workbench.evaluate.jobs import evaluation_jobs, just_ended
from workbench.evaluate.kept import KEPT, what_was_kept
from workbench.evaluate.listed import (
    Listed,
    about_evaluation,
    evaluation_name,
    is_of_these_weights,
    names_apart,
)
from workbench.evaluate.samples import samples
from workbench.kit.charts import on_screen
from workbench.kit.frame import page_frame, places
from workbench.kit.state import RUN, settings, show_in_url
from workbench.kit.words import plain, told_apart

SHOWN = "evaluations"
GONE = "gone_evaluations"
# A quick look at many attacks and a long one at few belong side by side; more columns would not fit.
SHOWN_FIRST = 2


def evaluate() -> None:
    st.html(f"<style>{STYLE}</style>")
    show_in_url(RUN)
    st.title("Does it hold?", anchor=False)
    found, damaged = _found()
    for file in damaged:
        st.warning(
            plain(
                f"The evaluation {file} cannot be read: delete the file and evaluate again. Its answers are remembered."
            ),
            icon=":material/warning:",
        )
    evaluation_form(opened=not found)
    evaluation_jobs()
    if not found:
        st.info(
            "Nothing has been evaluated yet. Choose a finished run and attacks above: the worker asks both models the "
            "same requests and judges every answer.",
            icon=":material/shield_question:",
        )
        st.caption(plain(KNOWN_DEFEATS))
        return
    _say_unknown(found)
    chosen = _chosen(found)
    if not chosen:
        st.info("Choose at least one evaluation.", icon=":material/rule:")
        return
    _show(chosen)


def _show(chosen: list[Listed]) -> None:
    names = names_apart(chosen)
    texts = [(one.evaluation, name) for one, name in zip(chosen, names, strict=True) if asked_text(one.evaluation)]
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        calls = any(one.evaluation.tools for one in chosen)
        asked = "Harmful calls that were made" if calls else "Harmful requests with pictures that were answered"
        only_others = not calls and not any(one.evaluation.pictures for one in chosen)
        title = "Harmful requests that were answered" if texts or only_others else asked
        alone = all(only_abilities(one.evaluation) for one in chosen)
        if alone:
            title = KEPT
        st.subheader(title, anchor=False, width="content")
        _downloads(chosen, names)
    if texts:
        _of_texts(*map(list, zip(*texts, strict=True)))
    evaluations = [one.evaluation for one in chosen]
    others = [", other people's words" * asks_others_alone(one.evaluation) for one in chosen]
    shown = [(one.run, one.evaluation, name + of) for one, name, of in zip(chosen, names, others, strict=True)]
    of_agents(evaluations, names, titled=bool(texts))
    of_pictures(shown, titled=bool(texts) or calls)
    of_others(evaluations, names)
    what_was_kept(columns_without_text(evaluations, names), titled=not alone)
    st.subheader("Samples", anchor=False)
    samples(shown)


def _of_texts(evaluations: list[Evaluation], names: list[str]) -> None:
    shown = columns(evaluations, names)
    for one, name in zip(evaluations, names, strict=True):
        st.markdown(plain(finding(one)) if len(names) == 1 else f"**{plain(name)}**: {plain(finding(one))}")
    st.html(key_html())
    st.html(f'<div style="overflow-x:auto">{attacks_html(shown)}</div>')
    styles = styles_html(shown)
    if styles:
        with st.expander("Each wording apart", icon=":material/format_quote:"):
            st.html(f'<div style="overflow-x:auto">{styles}</div>')
    _with_probe(evaluations, names)
    with st.container(border=True):
        st.markdown(f":material/warning: {plain(KNOWN_DEFEATS)}")
        asked = {name for one in evaluations for name in one.attacks}
        marked = "; ".join(card.title for name, card in ATTACKS.items() if card.defeats and name in asked)
        said = f"Marked ⚠: {plain(marked)}. " if marked else ""
        st.caption(f"{said}The paper's figures are of other models and of another judge.")
    kept, front = st.columns([1.25, 1], gap="large")
    with kept:
        what_was_kept(shown)
    figure = front_figure(evaluations, names)
    if figure is not None:
        front.plotly_chart(
            on_screen(figure),
            key="front",
            config=CONFIG,
            alt=f"Harm broken against requests kept. {figure.layout.title.text}",
        )
    curves = budget_figures(evaluations, names)
    if curves:
        st.subheader("Success against budget", anchor=False)
        places = st.columns(2, gap="medium")
        for index, (name, curve) in enumerate(curves.items()):
            places[index % 2].plotly_chart(
                on_screen(curve), key=f"curve_{name}", config=CONFIG, alt=ATTACKS[name].title
            )


def _with_probe(evaluations: list[Evaluation], names: list[str]) -> None:
    """A table for each evaluation that was made with a harmfulness probe too."""
    for one, name in zip(evaluations, names, strict=True):
        if one.with_probe is None:
            continue
        of = f": {name}" if len(names) > 1 else ""
        st.subheader(plain(f"With the harmfulness probe{of}"), anchor=False)
        st.markdown(plain(f"{probe_finding(one)}"))
        st.html(f'<div style="overflow-x:auto">{probe_html(one)}</div>')
        st.caption(plain(f"{probe_title(one.with_probe)}. {ABOUT}"))


def _downloads(chosen: list[Listed], names: list[str]) -> None:
    evaluations = [one.evaluation for one in chosen]
    with st.container(horizontal=True, width="content"):
        st.download_button(
            "Report",
            lambda: report_html(evaluations, names, [run_facts(one.run, one.evaluation) for one in chosen]),
            file_name="evaluation.html",
            mime="text/html",
            key="report_html",
            icon=":material/description:",
            help="One HTML file with figures, curves, run, spec digest, versions and judge. No request and no answer.",
            on_click="ignore",
        )
        st.download_button(
            "CSV",
            lambda: as_csv(evaluations, names),
            file_name="evaluation.csv",
            mime="text/csv",
            key="report_csv",
            icon=":material/table:",
            on_click="ignore",
        )


def _found() -> tuple[list[Listed], list[Path]]:
    """All evaluations, newest first, and the files that cannot be read."""
    found: list[Listed] = []
    damaged: list[Path] = []
    for run in list_runs(settings().runs):
        try:
            whole, unreadable = sorted_out(run, settings())
            found += [Listed(run, one, evaluation_name(run, one)) for one in whole]
            damaged += unreadable
        except WorkbenchError:
            continue
    newest = sorted(found, key=lambda one: one.evaluation.created, reverse=True)
    # Made again with the plan of one that ships, it has that one's id: the newest is meant.
    by_id: dict[str, Listed] = {}
    for one in newest:
        by_id.setdefault(one.id, one)
    return [*by_id.values()], damaged


def _chosen(found: list[Listed]) -> list[Listed]:
    by_id, first = {one.id: one for one in found}, _first(found)
    if SHOWN in st.session_state:
        st.session_state[SHOWN] = [one for one in st.session_state[SHOWN] if one in by_id]
    else:
        linked = st.query_params.get_all(SHOWN)
        # Remembered until another choice is made.
        st.session_state[GONE] = [one for one in linked if one not in by_id]
        st.session_state[SHOWN] = [one for one in linked if one in by_id] or first
    # Who began one waits for its figures.
    st.session_state[SHOWN] = [*dict.fromkeys([*st.session_state[SHOWN], *just_ended(by_id)])]
    if st.session_state.get(GONE):
        names = ", ".join(st.session_state[GONE])
        st.warning(
            plain(f"The link names an evaluation that is gone, maybe with its run: {names}. Choose from those below."),
            icon=":material/link_off:",
        )
    ids = st.multiselect(
        "Evaluations shown",
        list(by_id),
        key=SHOWN,
        format_func=told_apart(
            {one.id: f"{one.name} · {about_evaluation(one.evaluation)}" for one in found}
        ).__getitem__,
        help="Choose several to compare runs.",
        on_change=lambda: st.session_state.pop(GONE, None),
    )
    _keep_in_address(ids, first=first)
    return [by_id[one] for one in ids]


def _keep_in_address(ids: list[str], *, first: list[str]) -> None:
    """By their ids: a widget that is bound writes what it shows of them, which changes with a run's name."""
    if ids == first:
        st.query_params.pop(SHOWN, None)
    elif st.query_params.get_all(SHOWN) != ids:
        st.query_params[SHOWN] = ids


def _first(found: list[Listed]) -> list[str]:
    """Ids of what is shown before anything is chosen: of the linked run, else of the newest one with enough requests,
    what asked most, and what asked most of other people's words alone. An own quick look does not take the place of
    figures that tell more."""
    linked = st.query_params.get(RUN, "").partition("@")[0]
    found = [one for one in found if is_of_these_weights(one.run, one.evaluation)] or found
    telling = [one for one in found if requests_asked(one.evaluation) >= FEW] or found
    first = linked if any(one.run.id == linked for one in found) else telling[0].run.id
    asked = sorted(
        (one for one in found if one.run.id == first), key=lambda one: requests_asked(one.evaluation), reverse=True
    )
    # Other people's words have a table of their own, and take no column from the matrix.
    matrix: list[Listed] = []
    words: list[Listed] = []
    for one in asked:
        (words if asks_others_alone(one.evaluation) else matrix).append(one)
    return [one.id for one in matrix[:SHOWN_FIRST] + words[:1]]


def _say_unknown(found: list[Listed]) -> None:
    """A link may name a run that is gone or was never evaluated: say it, and what is shown instead."""
    linked = st.query_params.get(RUN, "").partition("@")[0]
    if not linked or any(one.run.id == linked for one in found):
        return
    try:
        run = open_run(settings().runs, linked)
        why = f"{run.label().name or run.id} has not been evaluated yet: press Evaluate above."
    except WorkbenchError:
        why = f"There is no run '{linked}': it was deleted with its evaluations, or the address is wrong."
    st.warning(plain(f"{why} Shown instead: evaluations of other runs."), icon=":material/link_off:")
    st.page_link(places()["runs"], label="Runs", icon=":material/monitoring:")


with page_frame():
    evaluate()
