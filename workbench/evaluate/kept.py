"""What was kept, as tables: abilities of both models, and naming of pictures by kind. Knows figures alone."""

from collections.abc import Sequence

import streamlit as st

from engine.figures.evaluation.kinds import ABOUT, kinds_html
from engine.figures.evaluation.table import MatrixColumn, abilities_html

KEPT = "What was kept"


def what_was_kept(shown: Sequence[MatrixColumn], *, titled: bool = True) -> None:
    """Abilities x model, and each kind of picture folded below; nothing where none was measured. titled: under a
    heading of its own."""
    html = abilities_html(shown)
    if not html:
        return
    if titled:
        st.subheader(KEPT, anchor=False)
    st.html(f'<div style="overflow-x:auto">{html}</div>')
    if kinds := kinds_html(shown):
        with st.expander("Pictures named, each kind apart", icon=":material/category:"):
            st.html(f'<div style="overflow-x:auto">{kinds}</div>')
            st.caption(ABOUT)
