"""What a replay bundle holds, gathered from a run's records as one tree of JSON values. Knows nothing of its page.

A part that the run has nothing for holds a sentence in the place of its figures.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from engine.exports.bundle.said import answers_on_the_way, chats
from engine.exports.bundle.tokens import token_views
from engine.exports.private import Private
from engine.exports.product import date, written_by
from engine.figures.blocks import movement_figure
from engine.figures.curves import run_figures
from engine.figures.drawing import exported, figure_content
from engine.figures.evaluation.agents import agents_html
from engine.figures.evaluation.drawn import evaluation_figures, evaluation_findings
from engine.figures.evaluation.findings import asked_text, requests_asked
from engine.figures.evaluation.others import others_html
from engine.figures.evaluation.pictures import pictures_html
from engine.figures.evaluation.table import abilities_html, attacks_html, columns, columns_without_text, key_html
from engine.figures.film import film_of
from engine.figures.film_picture import film_svg, legend_html, pixels
from engine.figures.film_picture import finding as film_finding
from engine.figures.labels import with_differences
from engine.records.captures.capture import run_captures
from engine.records.captures.tables import MEASURED_TOKENS, movement_table
from engine.records.errors import RunError
from engine.records.evaluation.attacks import KNOWN_DEFEATS
from engine.records.evaluation.final import is_final
from engine.records.evaluation.findings import Evaluation, read_evaluations
from engine.records.events import ControlEvent, effective
from engine.records.outcome import outcome_of
from engine.records.places import judge_words
from engine.records.runs import Run
from engine.records.settings import Settings
from engine.records.tables import RunTables, run_tables

# Evaluations of more requests first; of the rest the page of the run tells.
MOST_EVALUATIONS = 4
TITLES = ("losses", "cosine", "drift", "weights", "gradient", "speed")
NO_CURVES = "This run has taken no step."
NO_FILM = "This run captured too little while it trained for a film: its spec says how often and how many prompts."
NO_MOVEMENT = "No step of this run was captured."
NO_EVALUATION = "This run was not evaluated."


def bundle_content(run: Run, settings: Settings, *, harmful_text: bool = True) -> dict[str, Any]:
    """All parts, without anything that tells of the machine. harmful_text: whether requests and answers of the harmful
    side are in it at all. Raises RunError when record or spec cannot be read."""
    private = Private(settings)
    events = effective(run.events()[0])
    tables = run_tables(events)
    controls = [event for event in events if isinstance(event, ControlEvent)]
    of_machine = {
        "about": _about(run, settings),
        "spec": run.spec().model_dump(mode="json"),
    }
    content = private.everywhere(of_machine, change=private.of_machine) | {
        "curves": _curves(tables, controls),
        "film": _film(run),
        "movement": _movement(run, settings),
        "tokens": token_views(run, settings, harmful_text=harmful_text),
        "answers": answers_on_the_way(tables.probes, harmful_text=harmful_text),
        "chats": chats(run, settings, harmful_text=harmful_text),
        "evaluations": _evaluations(run, settings, private),
        "harmful_text": harmful_text,
    }
    return private.everywhere(content)


def _about(run: Run, settings: Settings) -> dict[str, Any]:
    record, spec = run.record(), run.spec()
    outcome = outcome_of(run, settings)
    facts = {
        "model": spec.model.name,
        "preset": record.preset,
        "target blocks": ", ".join(map(str, record.targets)),
        "adapted blocks": ", ".join(map(str, record.adapted)),
        "trained parameters": f"{record.trained_parameters:,}".replace(",", " ") if record.trained_parameters else "",
        "created": date(record.created),
        "spec digest": record.digest,
    }
    return {
        "name": run.name,
        "id": run.id,
        "status": record.status,
        "step": record.step,
        "steps": record.steps,
        "outcome": outcome.word,
        "sentence": outcome.sentence,
        "source": outcome.source,
        "facts": {name: value for name, value in facts.items() if value},
        "versions": record.versions,
        "written": written_by(),
    }


def _curves(tables: RunTables, controls: Sequence[ControlEvent]) -> dict[str, Any]:
    """The live figures of the run's page, and the figures of each step for the line above them."""
    if tables.steps.empty and tables.heldout.empty:
        return {"missing": NO_CURVES}
    figures = run_figures(tables, controls)
    known = tables.heldout[tables.heldout["split"] == "validation"]
    # A side without a row has no figure at all, and is no column of numbers by itself.
    means = known.astype({"cosine": float, "drift": float}).groupby("step", as_index=False)[["cosine", "drift"]].mean()
    return {
        "figures": [figure_content(figures[key]) for key in TITLES],
        "steps": {name: _column(tables.steps[name]) for name in ("step", "reroute_loss", "retain_loss")},
        "heldout": {name: _column(means[name]) for name in means.columns},
    }


def _film(run: Run) -> dict[str, Any]:
    with suppress(RunError):
        film = film_of(run)
        if film is not None:
            return {
                "svg": film_svg(film),
                "legend": legend_html(film),
                "places": pixels(film),
                "steps": list(film.steps),
                "block": film.block,
                "finding": film_finding(film),
            }
    return {"missing": NO_FILM}


def _movement(run: Run, settings: Settings) -> dict[str, Any]:
    """Of the capture with most steps: the one made while the run trained comes first among equals."""
    captures = [capture for capture in run_captures(settings, run.id) if capture.steps]
    for capture in sorted(captures, key=lambda one: -len(one.steps)):
        with suppress(RunError):
            averaged = capture.index.averaged[0] if capture.index.averaged else None
            table = movement_table(capture, averaged=averaged)
            if not table.empty:
                said = f"A mean over tokens: {averaged}." if averaged else MEASURED_TOKENS
                return {"figure": figure_content(movement_figure(table)), "steps": capture.steps, "words": said}
    return {"missing": NO_MOVEMENT}


def _evaluations(run: Run, settings: Settings, private: Private) -> dict[str, Any]:
    record = run.record()
    # Of an earlier checkpoint, or of the final weights: not of weights that a resume has trained on.
    told = [one for one in read_evaluations(run, settings) if "@" in one.run or is_final(one, record)]
    found = sorted(told, key=requests_asked, reverse=True)[:MOST_EVALUATIONS]
    shown = [_without_places(one, private) for one in found]
    if not shown:
        return {"missing": NO_EVALUATION}
    names = _names(shown, run)
    of_text = [(one, name) for one, name in zip(shown, names, strict=True) if asked_text(one)]
    matrix = columns([one for one, _ in of_text], [name for _, name in of_text])
    tables = [
        *_tables(matrix),
        agents_html(shown, names),
        pictures_html(shown, names),
        others_html(shown, names),
        abilities_html(columns_without_text(shown, names)),
    ]
    return {
        "findings": [
            f"{name}: {said}" for one, name in zip(shown, names, strict=True) for said in evaluation_findings(one)
        ],
        "limits": KNOWN_DEFEATS,
        "key": key_html(),
        "tables": [table for table in tables if table],
        "figures": [figure_content(exported(figure)) for figure in evaluation_figures((shown, names))],
    }


def _tables(matrix: Sequence) -> list[str]:
    return [attacks_html(matrix), abilities_html(matrix)] if matrix else []


def _names(shown: Sequence[Evaluation], run: Run) -> list[str]:
    """Those of one name with what tells them apart."""
    tells = (
        [f"judge {judge_words(one.judge)}" for one in shown],
        [f"{one.new_tokens} tokens" for one in shown],
        [f"evaluation {one.key}" for one in shown],
    )
    return with_differences([_name(one, run) for one in shown], tells, "{}, {}".format)


def _name(one: Evaluation, run: Run) -> str:
    """'step 200, n 16': which weights, and how many requests; the run's own name stands above."""
    step = one.run.partition("@")[2] or run.record().step
    return f"step {step}, n {requests_asked(one)}"


def _without_places(one: Evaluation, private: Private) -> Evaluation:
    """Rows may come from a file of this machine, whose name says enough."""
    changes: dict[str, Any] = {name: private.of_machine(getattr(one, name)) for name in ("harmful", "benign")}
    for name in ("tools", "pictures"):
        if (found := getattr(one, name)) is not None:
            changes[name] = found.model_copy(update={"source": private.of_machine(found.source)})
    return one.model_copy(update=changes)


def _column(values: Any) -> list[float | None]:
    """Numbers as JSON has them, with six digits; null for what is not finite."""
    return [float(f"{value:.6g}") if value == value and abs(value) != float("inf") else None for value in values]
