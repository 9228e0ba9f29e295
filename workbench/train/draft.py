"""The spec that the form is writing: its fields in the session, what differs from its origin in the URL.

A draft outlives a visit to another page; the URL alone brings it back in another tab. Knows nothing of widgets but
their keys.
"""

import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from engine.records.errors import SpecError, WorkbenchError
from engine.records.presets import preset_names, read_preset
from engine.records.runs import open_run
from engine.records.spec import RunSpec, flat
from engine.records.spec_text import build_spec, parse_spec
from workbench.kit.state import DRAFT, DRAFT_ERROR, LIKE, LOADED_SPEC, PRESET, TAKE, settings
from workbench.train.numbers import is_number, number_problem, read_number, written

Fields = dict[str, Any]
LOADED = "loaded"
PLAIN_DEFAULTS = "defaults"
# Widget key: of the list of starts, which is drawn whenever the page is.
ORIGIN = "origin"
# Widget key: whether the fields that are folded away are open.
ADVANCED = "advanced"


@dataclass
class Draft:
    """origin: 'preset:NAME', 'run:ID' or 'loaded'. content and base: all fields under dotted names. valid: the content
    when it last made a spec: what stays in force while a field holds something else."""

    origin: str
    base: Fields
    content: Fields = field(default_factory=dict)
    valid: Fields = field(default_factory=dict)

    @property
    def changes(self) -> Fields:
        """The fields that differ from the origin."""
        return {path: value for path, value in self.content.items() if value != self.base[path]}

    @property
    def preset(self) -> str:
        """What the record calls the preset: '' for a spec that came from elsewhere."""
        kind, _, name = self.origin.partition(":")
        if kind != "preset":
            return ""
        return f"{name} (edited)" if self.changes else name


def current_draft() -> Draft:
    """The draft of this session, after what the URL asks for and what the widgets now hold."""
    draft: Draft | None = st.session_state.get(DRAFT)
    wanted, asked = _origin_in_url(), st.query_params.to_dict()
    if draft is None or (wanted and (wanted != draft.origin or _is_another(draft, asked))):
        draft = load(wanted or f"preset:{first_choice()}", overrides=asked)
    elif TAKE in asked:
        # A link from another page that changes some fields of the draft as it is.
        for path, value in _valid_overrides(draft.valid, asked).items():
            set_field(path, value)
        st.session_state[ADVANCED] = True
    if draft.origin.startswith("preset:"):
        # A preset may be edited meanwhile: what differs from it is told, and trained under its name, as it is now.
        with suppress(SpecError):
            draft.base = flat(_spec_of(draft.origin))
    for path in draft.content:
        if widget_key(path) in st.session_state:
            held = st.session_state[widget_key(path)]
            draft.content[path] = read_number(path, str(held or "")) if is_number(path) else held
    _write_url(draft)
    return draft


def _is_another(draft: Draft, asked: dict[str, str]) -> bool:
    """Whether who comes from another page asks for other fields than the draft of the same origin has. The address of a
    page that is open already may lag behind its fields."""
    arrives = ORIGIN not in st.session_state
    return arrives and TAKE not in asked and _valid_overrides(draft.base, asked) != draft.changes


def load(origin: str, *, overrides: dict[str, str] | None = None) -> Draft:
    """Begin a new draft from a preset, a run or the spec that was loaded. An origin that cannot be read leaves its
    error for the page and begins from the default values."""
    st.session_state.pop(DRAFT_ERROR, None)
    try:
        base = flat(_spec_of(origin))
    except WorkbenchError as error:
        st.session_state[DRAFT_ERROR] = str(error)
        origin, base = f"preset:{PLAIN_DEFAULTS}", flat(RunSpec())
    given = _valid_overrides(base, overrides or {})
    if origin == LOADED and not given:
        # Named again by the list of starts, which knows no fields.
        given = st.session_state.get(LOADED_SPEC, {})
    content = base | given
    draft = Draft(origin, base, content, valid=dict(content))
    forget_widgets(list(base))
    st.session_state[DRAFT] = draft
    _write_url(draft)
    return draft


def load_text(text: str) -> None:
    """Begin a draft from JSON text. Raises SpecError when it is no spec."""
    st.session_state[LOADED_SPEC] = flat(parse_spec(text))
    load(LOADED)


def first_choice() -> str:
    """The preset that the page opens with."""
    return next(iter(preset_names()), PLAIN_DEFAULTS)


def widget_key(path: str) -> str:
    """'loss.space' -> 'spec_loss_space'."""
    return "spec_" + path.replace(".", "_")


def set_field(path: str, value: Any) -> None:
    """Change a field from code (a click on the strip, an upload), before its widget is drawn."""
    draft: Draft = st.session_state[DRAFT]
    draft.content[path] = value
    st.session_state[widget_key(path)] = shown(path, value)


def set_fields(values: Fields) -> None:
    """As set_field, for several fields; for a callback. What strips, pickers and tables show follows."""
    for path, value in values.items():
        set_field(path, value)
    forget_widgets([])


def shown(path: str, value: Any) -> Any:
    """What a field's widget holds: a number as text."""
    return written(value) if is_number(path) else value


def forget_widgets(paths: list[str]) -> None:
    for path in paths:
        st.session_state.pop(widget_key(path), None)
    for key in [key for key in st.session_state if str(key).startswith(("strip_", "source_", "points_"))]:
        del st.session_state[key]


def nested(content: Fields) -> dict[str, Any]:
    """Dotted names back to the shape that RunSpec reads."""
    shape: dict[str, Any] = {}
    for path, value in content.items():
        part, dot, name = path.partition(".")
        if dot:
            shape.setdefault(part, {})[name] = value
        else:
            shape[part] = value
    return shape


def _spec_of(origin: str) -> RunSpec:
    kind, _, name = origin.partition(":")
    if kind == "run":
        return open_run(settings().runs, name).spec()
    if kind != "preset" or name == PLAIN_DEFAULTS:
        return RunSpec()
    return read_preset(name)


def _valid_overrides(base: Fields, overrides: dict[str, str]) -> Fields:
    """The fields given in the URL, as far as the spec stays valid with them: a link may be old or mistyped."""
    given: Fields = {}
    for path in base.keys() & overrides.keys():
        try:
            given[path] = overrides[path] if isinstance(base[path], str) else json.loads(overrides[path])
        except ValueError:
            continue
    if _is_valid(base | given):
        whole = flat(build_spec(nested(base | given)))
        return {path: whole[path] for path in given}
    return {path: value for path, value in given.items() if _is_valid(base | {path: value})}


def _is_valid(content: Fields) -> bool:
    try:
        build_spec(nested(content))
    except SpecError:
        return False
    return True


def _write_url(draft: Draft) -> None:
    kind, _, name = draft.origin.partition(":")
    wanted = {PRESET: name} if kind == "preset" else {LIKE: name} if kind == "run" else {PRESET: LOADED}
    # A number that cannot be used is for this screen to mend: a link to it would lead to nothing.
    wanted |= {
        path: _to_url(value)
        for path, value in draft.changes.items()
        if not (is_number(path) and number_problem(path, value))
    }
    if st.query_params.to_dict() != wanted:
        st.query_params.from_dict(wanted)


def _to_url(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _origin_in_url() -> str:
    if LIKE in st.query_params:
        return f"run:{st.query_params[LIKE]}"
    name = st.query_params.get(PRESET, "")
    return LOADED if name == LOADED else f"preset:{name}" if name else ""
