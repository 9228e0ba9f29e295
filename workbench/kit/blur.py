"""Harmful text stays hidden until it is revealed: a blurred stand-in of the same shape takes its place.

The text itself does not reach the browser before, so no screen reader, search or copy finds it. Headings and badges
beside it are drawn as ever. Knows nothing of where the text comes from.
"""

import re
from collections.abc import Callable
from html import escape

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from engine.records.versions import key_of
from workbench.kit.empty_lines import without_empty_lines
from workbench.kit.state import blurs

MOST_LETTERS = 1200
REVEAL_KEY = "V"


def reveal_button(name: str, *, of: str = "", what: str = "this text", shortcut: bool = False) -> bool:
    """A button that reveals one text, and hides it again. Returns whether the text is to be hidden.

    of: the text that it reveals, where another one may take its place or come under its name, in another run for
    instance: that stays hidden.  what: what it reveals, as the button says it.  shortcut: whether the key V presses it:
    one button of a page may.
    """
    if not blurs():
        return False
    hidden, name = is_hidden(name, of=of), _named(name, of)
    st.button(
        f"Reveal {what}" if hidden else f"Hide {what}",
        key=f"reveal_{name}",
        icon=":material/visibility:" if hidden else ":material/visibility_off:",
        type="tertiary",
        shortcut=REVEAL_KEY if shortcut else None,
        help="Harmful text is hidden until you ask for it. The sidebar turns that off."
        + (f" Key: {REVEAL_KEY}." if shortcut else ""),
        on_click=_turn,
        args=(f"revealed_{name}",),
    )
    return hidden


def is_hidden(name: str, *, of: str = "") -> bool:
    """Whether what a button of this name and for this text reveals is to be hidden now."""
    return blurs() and not st.session_state.get(f"revealed_{_named(name, of)}", False)


def blurred(name: str, *, hidden: bool) -> DeltaGenerator:
    """A container for texts that may be hidden: draw them with `harmful_text`, captions and badges as ever."""
    return st.container(key=f"{'blurred' if hidden else 'shown'}_{name}")


def harmful_text(
    text: str, *, hidden: bool, draw: Callable[[str], object] | None = None, place: DeltaGenerator | None = None
) -> None:
    """A text letter by letter, or its blurred stand-in. draw: how it is drawn when it is not hidden."""
    where = place or st
    if hidden:
        shape = escape(stand_in(without_empty_lines(text)[:MOST_LETTERS]))
        where.html(f'<div class="stand-in" aria-hidden="true">{shape}</div>')
    elif draw is not None:
        draw(text)
    else:
        where.text(without_empty_lines(text))


def stand_in(text: str) -> str:
    """A text of the same shape that says nothing: each letter and sign is a block, spaces and lines stay."""
    return re.sub(r"\S", "▆", text)


def _named(name: str, of: str) -> str:
    return f"{name}_{key_of(of, length=12)}" if of else name


def _turn(key: str) -> None:
    st.session_state[key] = not st.session_state.get(key, False)
