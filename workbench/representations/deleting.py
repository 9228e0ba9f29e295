"""Deleting what was captured: the capture that is shown, and those that cannot be read."""

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from engine.records.captures.capture import TRAINING, Capture
from engine.records.captures.deleting import delete_capture, is_deletable
from engine.records.runs import Run
from workbench.kit.state import CAPTURE, SAID
from workbench.kit.words import counted, plain
from workbench.representations.opened import turn_to


def delete_button(run: Run | None, capture: Capture, *, name: str, others: int) -> None:
    """name: what the capture is called on the page.  others: how many are left to be shown."""
    if not is_deletable(run, capture.folder):
        return
    with st.popover("Delete", icon=":material/delete:", key="delete_popover"):
        again = " It cannot be made again: the run has moved on." if capture.index.key == TRAINING else ""
        st.caption(f"Removes this capture with all maps and tables made of it.{again}")
        key = f"delete_{capture.index.run_id}_{capture.index.key}"
        if st.button("Delete this capture", key=key, icon=":material/delete:"):
            delete_capture(run, capture.folder)
            _show_another(f"The capture '{plain(name)}' is deleted", others)


def damaged_captures(run: Run | None, folders: Sequence[Path], *, others: int) -> None:
    """Says that some cannot be read, and offers to delete those that can be deleted."""
    if not folders:
        return
    st.warning(
        f"{counted(len(folders), 'capture')} of this {'run' if run else 'model'} cannot be read, perhaps from a full "
        f"disk: capture again, or delete ({plain(', '.join(folder.name for folder in folders))}).",
        icon=":material/broken_image:",
    )
    removable = [folder for folder in folders if is_deletable(run, folder)]
    if removable and st.button("Delete the damaged ones", key="delete_damaged", icon=":material/delete:"):
        for folder in removable:
            delete_capture(run, folder)
        _show_another(f"{counted(len(removable), 'damaged capture')} deleted", others)


def say_what_was_deleted() -> None:
    if SAID in st.session_state:
        text, icon = st.session_state.pop(SAID)
        st.toast(text, icon=icon)


def _show_another(said: str, others: int) -> None:
    rest = "another one is shown" if others else "no other is left"
    st.session_state[SAID] = (f"{said}: {rest}.", ":material/delete:")
    turn_to(CAPTURE, "")
    st.rerun()
