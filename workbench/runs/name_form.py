"""A run's name and note, to be changed. Knows nothing of what else its page shows."""

import streamlit as st

from engine.records.runs import Run, RunLabel
from engine.records.versions import key_of
from workbench.kit.frame import catching


def name_form(run: Run, label: RunLabel) -> None:
    # Fields of their own for each label: what another tab saved is shown where nothing was typed.
    key = f"{run.id}_{key_of(label.model_dump_json(), length=8)}"
    with st.form(f"label_{run.id}", border=False):
        st.text_input("Name", label.name, placeholder=run.name, max_chars=80, key=f"name_{key}")
        st.text_area("Note", label.note, height=90, max_chars=2000, key=f"note_{key}")
        if st.form_submit_button("Save", key=f"save_{run.id}", on_click=_save_label, args=(run, label, key)):
            st.rerun()


@catching
def _save_label(run: Run, drawn: RunLabel, key: str) -> None:
    """What was changed of the label that was drawn; the rest stays as it is by now."""
    name, note, now = st.session_state[f"name_{key}"], st.session_state[f"note_{key}"], run.label()
    run.set_label(name=now.name if name == drawn.name else name, note=now.note if note == drawn.note else note)
