"""Harmful text stays blurred until it is revealed. Knows nothing of where the text comes from."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from workbench.kit.state import blurs


def reveal_button(name: str) -> bool:
    """A switch that reveals one text. Returns whether the text is to be hidden."""
    if not blurs():
        return False
    return not st.toggle("Reveal", key=f"reveal_{name}", help="Show this harmful text. The sidebar turns blurring off.")


def blurred(name: str, *, hidden: bool) -> DeltaGenerator:
    """A container that is unreadable while hidden; one static style rule does the blurring."""
    return st.container(key=f"{'blurred' if hidden else 'shown'}_{name}")
