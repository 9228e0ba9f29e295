"""What chosen attacks do and need, and how much each may spend. Knows nothing of which requests they are for."""

from collections.abc import Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from engine.records.evaluation.attacks import ATTACKS
from engine.records.evaluation.plan import AttackChoice
from workbench.kit.words import plain

ACCESS = {"chat": "chat", "prefill": "chat with prefilling", "weights": "the weights"}


def attack_pills(
    place: DeltaGenerator, label: str, names: Sequence[str], *, default: Sequence[str], key: str
) -> list[str]:
    """The attacks that are chosen of these, in the order in which they are offered."""
    chosen = place.pills(
        label,
        names,
        default=list(default),
        selection_mode="multi",
        key=key,
        persist_state="session",
        format_func=lambda name: ATTACKS[name].title + (" ⚠" if ATTACKS[name].defeats else ""),
    )
    return [name for name in names if name in chosen]


def attack_budgets(names: Sequence[str], *, key: str, across: int = 5) -> tuple[AttackChoice, ...]:
    """The chosen attacks in the order in which they are told, with the budgets of those that have one. key: what the
    widgets' names begin with.  across: so many stand beside each other at least."""
    chosen = [name for name in ATTACKS if name in names]
    lines = []
    for name in chosen:
        card = ATTACKS[name]
        needs = f" Needs {ACCESS[card.access]}." if card.access != "chat" else ""
        lines.append(f"**{plain(card.title)}**: {plain(card.about + needs)}")
    st.caption("  \n".join(lines))
    spent = dict.fromkeys(chosen, 1)
    costly = [name for name in chosen if ATTACKS[name].unit != "attempt"]
    for name, place in zip(costly, st.columns(max(across, len(costly))), strict=False):
        card = ATTACKS[name]
        spent[name] = place.number_input(
            f"{card.title}, {card.unit}s",
            1,
            10_000,
            card.budget,
            key=f"{key}_{name}",
            persist_state="session",
            help="Its budget.",
        )
    return tuple(AttackChoice(name=name, budget=budget) for name, budget in spent.items())
