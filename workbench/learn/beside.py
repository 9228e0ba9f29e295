"""What stands beside a step: a small figure from a run's records, and the link to the view that it is of."""

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from engine.figures.drawing import CONFIG
from engine.figures.evaluation.fronts import KEPT
from engine.records.captures.averages import over_answers
from engine.records.captures.capture import BASE, TRAINING, Capture, checkpoint_name, fullest, run_captures
from engine.records.captures.projections import (
    ExaminationRequest,
    ProjectionRequest,
    examination_file,
    projection_file,
    read_examination,
    read_projection,
)
from engine.records.captures.tables import examination_table, movement_table
from engine.records.errors import DataError, RunError, WorkbenchError
from engine.records.evaluation.attacks import ATTACKS
from engine.records.evaluation.counts import Count, Side
from engine.records.evaluation.final import of_final
from engine.records.evaluation.findings import Evaluation, read_evaluations
from engine.records.events import effective
from engine.records.lessons.checking import run_named
from engine.records.lessons.lesson import Figure, Step
from engine.records.lessons.reading import Lesson, curves_file
from engine.records.places import judge_words
from engine.records.runs import Run
from workbench.kit.charts import on_screen
from workbench.kit.frame import places
from workbench.kit.plane import finding, plane_of
from workbench.kit.plane_figures import arrows_figure
from workbench.kit.state import settings
from workbench.kit.strip_figure import strip_figure
from workbench.kit.waiting import awaited
from workbench.kit.words import plain
from workbench.learn.figures import (
    blocks_figure,
    heldout_figure,
    losses_figure,
    recorded_figure,
    separation_figure,
    shares_figure,
)
from workbench.learn.place import link_settings

CAPTIONS: dict[str, str] = {
    "losses": "What each step of training saw: the loss that turns harmful answers away, and the one that holds the "
    "rest.",
    "heldout": "Rows that training never sees. 1: the activations are where the base model has them; 0: turned away.",
    "prompts": "A dot a held-out prompt: cosine of its answer's activations with the base model's, at the end.",
    "blocks": "Held-out prompts, a thin line an earlier step; the dotted line marks the block that was trained on.",
    "attacks": "Harmful requests still answered, with 95 % intervals.",
    "kept": "Harmless requests answered, with 95 % intervals; borderline ones only sound harmful.",
    "separation": "The base model before any training: how well a linear probe tells harmful from harmless.",
    "movement": "Half of the prompts set the axes; here is the other half: hollow before, solid after.",
}


def beside(lesson: Lesson, step: Step) -> None:
    """Draw the figure, and the link that opens the view with its settings."""
    if step.figure is not None:
        try:
            _figure(lesson, step.figure)
        except WorkbenchError as error:
            st.warning(plain(f"The figure cannot be drawn. {error}"), icon=":material/broken_image:")
    if step.view is not None:
        page = places()[step.view.page]
        st.page_link(
            page,
            label=f"Open this view: {page.title}",
            icon=":material/open_in_new:",
            query_params=link_settings(step.view),
        )


def _figure(lesson: Lesson, asked: Figure) -> None:
    if asked.kind == "recorded":
        content = _recorded(curves_file(lesson, asked.file or ""))
        _draw(recorded_figure(content), str(content.get("about", "")))
        return
    run = run_named(asked.run, settings())
    drawings: dict[str, Callable[[], go.Figure | None]] = {
        "losses": lambda: losses_figure(_events(run)),
        "heldout": lambda: heldout_figure(_events(run)),
        "prompts": lambda: _prompts(run, asked.block),
        "blocks": lambda: _blocks(run),
        "attacks": lambda: shares_figure(_attacks(run)),
        "kept": lambda: shares_figure(_kept(run)),
        "separation": lambda: _separation(run, while_training=asked.while_training),
        "movement": lambda: _movement(run, asked.block),
    }
    figure = drawings[asked.kind]()
    if figure is not None:
        more = {"blocks": _means, "attacks": _asked_words}.get(asked.kind)
        _draw(figure, f"{CAPTIONS[asked.kind]}{f' {more(run)}' if more else ''} Run: {run.name}.")


def _draw(figure: go.Figure, words: str) -> None:
    st.plotly_chart(on_screen(figure), key="chart_lesson", config=CONFIG, alt=words)
    st.caption(plain(words))


def _recorded(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if not all(len(curve["steps"]) == len(curve["values"]) > 0 for curve in content["curves"]):
            raise ValueError("a curve has not as many values as steps")
        if not content["curves"]:
            raise ValueError("it has no curve")
        for curve in content["curves"]:
            _ = [float(number) for number in (*curve["steps"], *curve["values"])], str(curve["name"])
        return {"x": "step", "y": "", **content}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"The curves {file.name} cannot be read: {error}. Correct the file.") from error


def _events(run: Run) -> list:
    stat = run.events_file.stat()
    return _read_events(run, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4)
def _read_events(run: Run, changed: int, size: int) -> list:
    return effective(run.events()[0])


def _capture(run: Run, *, while_training: bool) -> Capture:
    captures = run_captures(settings(), run.id)
    training = next((one for one in captures if one.index.key == TRAINING), None)
    # A dot is called a held-out prompt.
    held_out = [one for one in captures if "train" not in one.index.request.splits]
    found = training if while_training else fullest(held_out or captures, kept=run.record().step)
    if found is None:
        raise RunError(f"{run.name} has no capture: make one in Representations.")
    return found


def _prompts(run: Run, block: int | None) -> go.Figure:
    capture = _capture(run, while_training=False)
    index = capture.index
    shown = block if block in index.blocks else next((one for one in index.targets if one in index.blocks), None)
    if shown is None or not capture.steps:
        raise RunError(f"The capture {index.key} holds no block that this run was trained on.")
    cosines = capture.measure(checkpoint_name(capture.steps[-1]), "cosine", shown, over_answers(capture))
    # Categories, not texts: harmful ones are shown where they can be hidden.
    names = [f"{prompt.category}, {prompt.style}" for prompt in index.prompts]
    return strip_figure([prompt.group for prompt in index.prompts], cosines.tolist(), names, height=330)


def _blocks(run: Run) -> go.Figure:
    capture = _capture(run, while_training=True)
    return blocks_figure(movement_table(capture, averaged=over_answers(capture)), capture.index.targets)


def _means(run: Run) -> str:
    if over_answers(_capture(run, while_training=True)):
        return "Means over the tokens of answers."
    return "Means of harmful prompts over their answers' tokens, of benign ones over all."


def _attacked(run: Run) -> dict[str, Evaluation]:
    """For each attack the evaluation of the run's last weights that asked most with it."""
    found: dict[str, Evaluation] = {}
    for one in of_final(read_evaluations(run, settings()), run.record()):
        for name, result in one.attacks.items():
            if name in ATTACKS and (name not in found or result.base.n > found[name].attacks[name].base.n):
                found[name] = one
    if not found:
        raise RunError(f"{run.name} was not attacked yet: press Evaluate.")
    return found


def _attacks(run: Run) -> dict[str, dict[Side, Count]]:
    results = {ATTACKS[name].title: one.attacks[name] for name, one in _attacked(run).items()}
    return {title: {"base": one.base, "rerouted": one.rerouted} for title, one in results.items()}


def _asked_words(run: Run) -> str:
    """Whose requests these were, and who judged."""
    used = _attacked(run).values()
    sources = dict.fromkeys(Path(one.harmful).name for one in used)
    judges = dict.fromkeys("rules" if one.judge.startswith("rules") else judge_words(one.judge) for one in used)
    return f"Requests of {' and '.join(sources)}, judged by {' and '.join(judges)}."


def _kept(run: Run) -> dict[str, dict[Side, Count]]:
    """Benign requests and abilities that are counted, of the evaluation that asked most of them."""
    evaluations = of_final(read_evaluations(run, settings()), run.record())
    most = max(evaluations, key=lambda one: one.benign_answers["base"].n if one.benign_answers else 0, default=None)
    if most is None or not most.benign_answers:
        raise RunError(f"{run.name} was not asked anything harmless yet: press Evaluate.")
    counted = {KEPT.get(ability.name, ability.name): ability.counts for ability in most.abilities if ability.counts}
    return {"benign": most.benign_answers, **counted}


def _separation(run: Run, *, while_training: bool) -> go.Figure | None:
    index = (capture := _capture(run, while_training=while_training)).index
    request = ExaminationRequest(
        run_id=index.run_id, key=index.key, digest=index.digest, tokens="response_mean", checkpoint=BASE
    )
    file = examination_file(capture, request)
    payload = request.model_dump(mode="json")
    if not awaited("examine", payload, what="Every block", ready=lambda: bool(read_examination(file)), place="lesson"):
        return None
    examination = read_examination(file)
    return separation_figure(examination_table(examination)) if examination is not None else None


def _movement(run: Run, block: int | None) -> go.Figure | None:
    index = (capture := _capture(run, while_training=False)).index
    shown = block if block in index.blocks else next((one for one in index.targets if one in index.blocks), 0)
    request = ProjectionRequest(
        run_id=index.run_id,
        key=index.key,
        digest=index.digest,
        checkpoints=index.checkpoints,
        block=shown,
        method="movement",
    )
    file = projection_file(capture, request)
    payload = request.model_dump(mode="json")
    what = f"Map of block {shown}"
    if not awaited("project", payload, what=what, ready=lambda: bool(read_projection(file)), place="lesson"):
        return None
    projection = read_projection(file)
    if projection is None:
        return None
    plane = plane_of(capture, projection, capture.steps[-1], "response_mean")
    st.markdown(f"**{plain(finding(plane))}**")
    return arrows_figure(plane).update_layout(height=420)
