"""A run's name and note, to be changed. Knows nothing of what else its page shows."""

import streamlit as st

from engine.records.runs import Run, RunLabel
from workbench.kit.frame import catching

# Whether the label was saved in this run of the page.
_SAVED = "label_saved"


def name_form(run: Run, label: RunLabel) -> None:
    name, note, drawn = (f"{part}_{run.id}" for part in ("name", "note", "label_drawn"))
    if name not in st.session_state:
        # What its fields began with: what is typed stays, whatever another tab saves meanwhile.
        st.session_state[drawn] = label
    with st.form(f"label_{run.id}", border=False):
        st.text_input("Name", label.name, placeholder=run.name, max_chars=80, key=name)
        st.text_area("Note", label.note, height=90, max_chars=2000, key=note)
        saved = st.form_submit_button("Save", key=f"save_{run.id}", on_click=_save, args=(run, name, note, drawn))
    if saved and st.session_state.pop(_SAVED, False):
        st.rerun()


@catching
def _save(run: Run, name: str, note: str, drawn: str) -> None:
    """What was changed in the fields; the rest of the label stays as it is by now."""
    before, now = st.session_state[drawn], run.label()
    typed = RunLabel(name=st.session_state[name], note=st.session_state[note])
    run.set_label(
        name=now.name if typed.name == before.name else typed.name,
        note=now.note if typed.note == before.note else typed.note,
    )
    # The fields begin anew with what is kept.
    kept = run.label()
    st.session_state[name], st.session_state[note], st.session_state[drawn] = kept.name, kept.note, kept
    st.session_state[_SAVED] = True
