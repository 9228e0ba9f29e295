"""Sample prompts by label, category and style: one click puts a prompt into the box. Knows nothing of chats."""

import random
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import streamlit as st

from engine.records.conversation import Label
from engine.records.errors import DataError
from engine.records.prompt_files import read_source
from engine.records.prompts import Prompt
from workbench.kit.blur import blurred, harmful_text
from workbench.kit.state import blurs
from workbench.kit.words import counted

ANY = "any"
SHOWN = 8


class Shelf(NamedTuple):
    """Where sample prompts come from, and the keys of the widgets that choose among them. also: what else a prompt that
    is taken brings along."""

    key: str
    prompts: Callable[[Label], Sequence[Prompt]]
    also: Callable[[Prompt], None] | None = None


def library(take: Callable[[Prompt], None], shelf: Shelf | None = None) -> None:
    """Choose label, category and style; press a prompt to take it."""
    shelf = shelf or TEXTS
    label = st.segmented_control(
        "Label", ["harmful", "benign", "borderline"], default="harmful", key=f"{shelf.key}_label", required=True
    )
    filters = st.columns([1.4, 1.4, 1], vertical_alignment="bottom")
    prompts = _of_label(shelf, label)
    category = filters[0].selectbox(
        "Category", [ANY, *sorted({p.category for p in prompts})], key=f"{shelf.key}_category"
    )
    style = filters[1].selectbox("Style", [ANY, *sorted({p.style for p in prompts})], key=f"{shelf.key}_style")
    found = _matching(prompts, category, style)
    page = int(st.session_state.setdefault(f"{shelf.key}_page", 0))
    filters[2].button(
        "Others",
        icon=":material/shuffle:",
        key=f"{shelf.key}_more",
        on_click=_turn_page,
        args=(shelf,),
        width="stretch",
    )
    if not found:
        st.caption("No prompt of this category and style.")
        return
    st.caption(
        f"{counted(len(found), 'prompt')}. Held-out ones, which no training with these sets has seen, come first."
    )
    shown = _page(found, page)
    hidden = label == "harmful" and blurs()
    for prompt in shown:
        with st.container(
            horizontal=True, vertical_alignment="center", gap="small", key=f"{shelf.key}_row_{prompt.id}"
        ):
            st.button("Use", key=f"{shelf.key}_use_{prompt.id}", on_click=take, args=(prompt,), type="secondary")
            with blurred(f"{shelf.key}_{prompt.id}", hidden=hidden):
                harmful_text(prompt.text, hidden=hidden)
            st.caption(f"{prompt.category}, {prompt.style}, {prompt.split}", width="content")


def next_prompt(taken: str, shelf: Shelf | None = None) -> Prompt | None:
    """The prompt after the one with this id, of the label, category and style that are chosen; None without any."""
    shelf, chosen = shelf or TEXTS, st.session_state
    prompts = _of_label(shelf, str(chosen.get(f"{shelf.key}_label", "harmful")))
    category, style = (str(chosen.get(f"{shelf.key}_{name}", ANY)) for name in ("category", "style"))
    order = _ordered(_matching(prompts, category, style))
    place = next((index + 1 for index, prompt in enumerate(order) if prompt.id == taken), 0)
    return order[place % len(order)] if order else None


def sample_prompt(prompt_id: str, shelf: Shelf | None = None) -> Prompt | None:
    """The sample prompt with this id, of either label, of texts or of a shelf."""
    labels: tuple[Label, ...] = ("harmful", "benign")
    found = (prompt for of in (TEXTS, shelf) if of for label in labels for prompt in of.prompts(label))
    return next((prompt for prompt in found if prompt.id == prompt_id), None)


def labelled(prompt_id: str, text: str, harmful: bool, taken: Prompt | None) -> tuple[str, bool]:
    """Id and label of what is written in a box that a sample prompt was taken into. One that was edited since is a text
    of the user's own: harmful, but where the user said that it is not."""
    if taken is None:
        # Of a prompt that is on no shelf here, such as another page's, it cannot be told whether it was edited.
        return "", harmful or bool(prompt_id)
    if text == taken.text:
        return prompt_id, harmful
    return "", harmful or taken.label != "harmful"


def _of_label(shelf: Shelf, label: str) -> list[Prompt]:
    prompts = shelf.prompts("harmful" if label == "harmful" else "benign")
    return [prompt for prompt in prompts if prompt.borderline == (label == "borderline")]


def _matching(prompts: list[Prompt], category: str, style: str) -> list[Prompt]:
    return [p for p in prompts if category in (ANY, p.category) and style in (ANY, p.style)]


def _ordered(found: list[Prompt]) -> list[Prompt]:
    return sorted(found, key=lambda prompt: (prompt.split != "test", random.Random(prompt.id).random()))


@lru_cache(maxsize=4)
def _prompts(label: Label) -> list[Prompt]:
    try:
        return read_source(f"sample:{label}", label=label)
    except DataError:
        return []


def _page(found: list[Prompt], page: int) -> list[Prompt]:
    order = _ordered(found)
    start = page * SHOWN % len(order)
    return (order + order)[start : start + min(SHOWN, len(order))]


def _turn_page(shelf: Shelf) -> None:
    st.session_state[f"{shelf.key}_page"] = int(st.session_state.get(f"{shelf.key}_page", 0)) + 1


TEXTS = Shelf("library", _prompts)
