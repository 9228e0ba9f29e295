"""Widgets to RunSpec: one widget a field, made from the field's own type, bounds and description."""

from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, get_args, get_origin

import streamlit as st
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from engine.records.cards import ModelCard
from engine.records.conversation import Label
from engine.records.errors import DataError, ModelError
from engine.records.model_place import need_model
from engine.records.prompt_files import read_source, source_file
from engine.records.prompts import Prompt
from engine.records.sources import needs_worker, parse_sources, source_texts
from engine.records.spec import RunSpec, field_description
from engine.records.spec_parts import ModelSpec
from engine.records.tools_taken import need_tools_taken
from workbench.kit.cards import model_card, model_payload
from workbench.kit.state import settings
from workbench.kit.words import plain
from workbench.train.checks import SIDES, RowCounts, check_spec, count_rows
from workbench.train.draft import Draft, current_draft, nested, shown, widget_key
from workbench.train.numbers import field_info, is_number, read_number

LABELS = {
    "model.dtype": "Number format",
    "adapter.rank": "Rank r",
    "adapter.noise": "Starting noise of B",
    "adapter.null_space": "Benign energy not read",
    "adapter.strength": "Strength when finished",
    "data.circuit_breaker_rows": "Harmful rows",
    "data.retain_rows": "Benign rows",
    "data.heldout_rows": "Held-out rows",
    "data.new_tokens": "Answer tokens",
    "data.max_tokens": "Tokens a row",
    "loss.skip_response_tokens": "Skip response tokens",
    "loss.lead_tokens": "Lead tokens",
    "loss.retain_mean": "Retain mean over",
    "loss.final_norm": "Final norm on the last retain block",
    "loss.reroute_margin": "Turned away below cosine",
    "loss.retain_margin": "Held still up to drift",
    "loss.answer_weight": "Answers held, weight",
    "loss.answer_temperature": "Answers held, temperature",
    "loss.answer_rows": "Answers held of",
    "loss.overlap_cosine": "Overlap, cosine",
    "loss.overlap_width": "Overlap, width",
    "loss.twin_weight": "Away from twins, weight",
    "loss.twin_margin": "Away from twins, margin",
    "schedule.first_step": "First step counts as",
    "optimizer.circuit_breaker_batch": "Harmful rows a step",
    "optimizer.retain_batch": "Benign rows a step",
    "optimizer.tokens_per_micro_batch": "Tokens a micro-batch",
    "optimizer.gradient_checkpointing": "Gradient checkpointing",
    "captures.heldout_every": "Held-out every",
    "captures.probe_every": "Probe every",
    "captures.capture_every": "Capture activations every",
    "captures.capture_prompts": "Captured prompts",
    "captures.final_prompts": "Captured at the end",
    "captures.final_answers": "Answers at the end",
    "captures.checkpoint_every": "Checkpoint every",
    "captures.evaluation_rows": "Evaluated rows a side",
    "optimizer.stop_drift": "Stop above drift",
    "optimizer.keep": "Weights that are kept",
    "optimizer.keep_drift": "Borderline drift at the best",
    "optimizer.keep_answers": "Borderline answers' cosine at the best",
    "harmfulness.probe": "Harmfulness probe",
    "harmfulness.block": "Block it reads",
    "harmfulness.false_alarms": "False alarms",
}
CHOICES = {"captures.trackers": ("tensorboard", "trackio", "wandb")}
EMPTY = {"captures.trackers": "none", "data.openers": "none"}


@dataclass
class Form:
    """The draft with all that is known about it in this run of the page."""

    draft: Draft
    card: ModelCard | None
    spec: RunSpec | None
    prompts: dict[Label, list[Prompt] | None]
    rows: dict[Label, RowCounts] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    @property
    def content(self) -> dict[str, Any]:
        return self.draft.content


def open_form() -> Form:
    """Read the draft, the model's card and the prompt sets, and check them together, before any widget is drawn."""
    draft = current_draft()
    card = _card(draft)
    checked = check_spec(draft.content, card, valid=draft.valid)
    if not checked.problems:
        draft.valid = dict(draft.content)
    form = Form(draft, card, checked.spec, {}, problems=dict(checked.problems))
    try:
        need_model(str(draft.content["model.name"]))
    except ModelError as error:
        form.problems.setdefault("model.name", str(error))
    for label, path in SIDES.items():
        form.prompts[label] = None
        source = str(draft.content[path])
        if not needs_worker(source):
            try:
                form.prompts[label] = read_prompts(source, label, str(draft.content["data.answer_field"]))
            except DataError as error:
                form.problems[path] = str(error)
    if form.spec is not None:
        form.rows, problems = count_rows(form.spec, form.prompts)
        try:
            need_tools_taken(settings().models, form.spec, form.prompts)
        except ModelError as error:
            problems["model.name"] = str(error)
        form.problems = problems | form.problems
    return form


def spec_field(form: Form, path: str, *, label: str = "", options: tuple[str, ...] = (), disabled: bool = False) -> Any:
    """The widget of one field, with its description as help and its problem below. Returns its value."""
    key = widget_key(path)
    if key not in st.session_state:
        st.session_state[key] = shown(path, form.content[path])
    info = field_info(path)
    shared: dict[str, Any] = {
        "label": label or LABELS.get(path, path.rpartition(".")[2].replace("_", " ").capitalize()),
        "key": key,
        "help": field_description(path),
        "disabled": disabled,
    }
    value = _widget(path, info, shared, options)
    form.content[path] = read_number(path, value) if is_number(path) else value
    problem(form, path)
    return form.content[path]


def problem(form: Form, path: str) -> None:
    """What is wrong with this field, beside it."""
    if path in form.problems:
        st.markdown(f":red[:material/error: {plain(form.problems[path])}]")


def _widget(path: str, info: FieldInfo, shared: dict[str, Any], options: tuple[str, ...]) -> Any:
    """Each is given its value as its usual one too: where one run of the page ends before another has begun, a browser
    misses what the session says, and would send an empty field, or the first option, back as the user's own."""
    kind, now = info.annotation, st.session_state[shared["key"]]
    if get_origin(kind) is Literal:
        return st.selectbox(options=get_args(kind), index=get_args(kind).index(now), **shared)
    if kind is bool:
        return st.toggle(value=now, **shared)
    if kind in (int, float, str):
        return st.text_input(value=now, **shared)
    known = dict.fromkeys((*(options or CHOICES.get(path, ())), *info.get_default(), *now))
    return st.multiselect(
        options=list(known),
        default=now,
        accept_new_options=not options,
        placeholder=EMPTY.get(path, "all"),
        **shared,
    )


def _card(draft: Draft) -> ModelCard | None:
    """None while the worker finds out, and where the name leads to no model: that is said at once, by the form."""
    try:
        model = ModelSpec.model_validate(nested(draft.content)["model"])
        need_model(model.name)
        return model_card(model_payload(model))
    except (ValidationError, ModelError):
        return None


def read_prompts(source: str, label: Label, answer_field: str) -> list[Prompt]:
    """Prompt sets are kept between reruns; a changed file is read anew."""
    parse_sources(source)
    return [prompt for text in source_texts(source) for prompt in _read_once(text, label, answer_field, _stamp(text))]


def share_words(source: str, label: Label, answer_field: str) -> list[str]:
    """Of several sources, each with its rows and its share of all: 'mine.jsonl: 500 rows, 40 %'."""
    texts = source_texts(source)
    counted: Counter[str] = Counter()
    for text in texts:
        # One that is named twice counts twice.
        counted[text] += len(_read_once(text, label, answer_field, _stamp(text)))
    whole = counted.total()
    if len(texts) < 2:
        return []
    return [f"{parse_sources(text)[0].name}: {rows:,} rows, {rows / whole:.0%}" for text, rows in counted.items()]


def _stamp(source: str) -> tuple[int, ...]:
    """When each of the files was written. Raises DataError where the text cannot be parsed."""
    stamps = []
    for part in parse_sources(source):
        try:
            stamps.append(source_file(part).stat().st_mtime_ns)
        except (OSError, DataError):
            stamps.append(0)
    return tuple(stamps)


# Enough for the sources of several presets in as many tabs.
@lru_cache(maxsize=48)
def _read_once(source: str, label: Label, answer_field: str, stamp: tuple[int, ...]) -> list[Prompt]:
    return read_source(source, label=label, answer_field=answer_field)
