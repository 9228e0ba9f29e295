"""Where the form starts from: the list of presets, a spec that is loaded, and what differs from the start."""

from contextlib import suppress

import streamlit as st

from engine.records.errors import RunError, SpecError
from engine.records.presets import preset_names
from engine.records.runs import open_run
from workbench.kit.state import DRAFT, DRAFT_ERROR, settings
from workbench.kit.words import plain
from workbench.train.draft import LOADED, ORIGIN, PLAIN_DEFAULTS, Draft, Fields, load, load_text, set_fields
from workbench.train.numbers import written
from workbench.train.presets import count_preset, preset_caption, uncounted_presets

SHOWN_CHANGES = 6
SPEC_FILE, SPEC_TEXT, GIVEN_LAST = "spec_file", "spec_text", "spec_given_last"


def origin_part(draft: Draft) -> None:
    """The presets with what each is for, and the way to load a spec from elsewhere."""
    names = [f"preset:{name}" for name in preset_names()]
    options = names if draft.origin in names else [*names, draft.origin]
    st.session_state[ORIGIN] = draft.origin
    with st.container(border=True, key="presets"):
        head = st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center")
        head.markdown("**Start from**", width="content")
        with head.popover("Load a spec", icon=":material/upload_file:", key="load_spec"):
            st.file_uploader("Spec file (JSON)", type=["json"], key=SPEC_FILE, on_change=_note, args=(SPEC_FILE,))
            st.text_area(
                "or paste it",
                key=SPEC_TEXT,
                height=140,
                placeholder='{"model": {"name": ...}, ...}',
                on_change=_note,
                args=(SPEC_TEXT,),
            )
            st.button("Load", key="spec_load", on_click=_load_given, type="primary")
        st.radio(
            "Start from",
            options,
            index=options.index(draft.origin),
            key=ORIGIN,
            format_func=_origin_name,
            captions=[_caption(option) for option in options],
            on_change=_load_origin,
            label_visibility="collapsed",
            width="stretch",
        )
        if DRAFT_ERROR in st.session_state:
            st.error(plain(st.session_state[DRAFT_ERROR]), icon=":material/error:")


def count_presets() -> None:
    """Reading all their prompts takes seconds: it follows the page, which is then drawn once more with their times."""
    if waiting := uncounted_presets():
        for name in waiting:
            # Here a click breaks in.
            st.empty()
            count_preset(name)
        st.rerun()


def changes_part(draft: Draft) -> None:
    """What differs from where the form started, each with its way back. Always on the screen."""
    changes = draft.changes
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="changes"):
        if not changes:
            st.caption(f"As {plain(origin_words(draft.origin))}: nothing differs.", width="content")
            return
        st.markdown(f"**Differs from {plain(origin_words(draft.origin))}:**", width="content")
        paths = list(changes)
        for path in paths[:SHOWN_CHANGES]:
            _change(draft, path)
        if len(paths) > SHOWN_CHANGES:
            with st.popover(f"and {len(paths) - SHOWN_CHANGES} more", type="tertiary", key="more_changes"):
                for path in paths[SHOWN_CHANGES:]:
                    _change(draft, path)
        st.button("Reset all", key="undo_changes", type="tertiary", on_click=_reset_all, args=(dict(draft.base),))


def _change(draft: Draft, path: str) -> None:
    """One field's change, as the button that takes it back."""
    before, now = _short(draft.base[path]), _short(draft.content[path])
    st.button(
        f"{plain(path)} {plain(before)} → {plain(now)}",
        key=f"reset_{path.replace('.', '_')}",
        icon=":material/undo:",
        help=f"Set {path} back to {before}.",
        on_click=set_fields,
        args=({path: draft.base[path]},),
    )


def origin_words(origin: str) -> str:
    """'quick', 'run the long one', 'the default values'."""
    kind, _, name = origin.partition(":")
    if kind == "run":
        with suppress(RunError):
            name = open_run(settings().runs, name).label().name or name
        return f"run {name}"
    return name if kind == "preset" and name != PLAIN_DEFAULTS else "the default values"


def _caption(origin: str) -> str:
    kind, _, name = origin.partition(":")
    if origin == LOADED:
        return "A spec that was loaded from a file or pasted."
    if kind == "run":
        return "The settings of that run."
    return preset_caption(name) if name in preset_names() else "Every field at its default value."


def _short(value: object) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return f"{len(value)} points"
    text = ", ".join(map(str, value)) if isinstance(value, list) else written(value)
    text = text or "empty"
    return text if len(text) <= 24 else text[:23] + "…"


def _origin_name(origin: str) -> str:
    kind, _, name = origin.partition(":")
    return plain(name if kind == "preset" else origin_words(origin) if kind == "run" else "loaded spec")


def _reset_all(base: Fields) -> None:
    set_fields(base)


def _load_origin() -> None:
    chosen, draft = st.session_state[ORIGIN], st.session_state.get(DRAFT)
    # A list that gets another option may report its choice once more: what is in the form stays.
    if draft is None or chosen != draft.origin:
        load(chosen)


def _note(given: str) -> None:
    st.session_state[GIVEN_LAST] = given


def _load_given() -> None:
    """What was given last: a file stays in its box after it was loaded."""
    file, text = st.session_state.get(SPEC_FILE), st.session_state.get(SPEC_TEXT, "")
    if file and not (text.strip() and st.session_state.get(GIVEN_LAST) == SPEC_TEXT):
        text = file.getvalue().decode(errors="replace")
    try:
        load_text(text)
    except SpecError as error:
        st.session_state[DRAFT_ERROR] = str(error)
