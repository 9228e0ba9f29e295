"""What a link brings to the message box, once: it leaves the address when it is taken.

A browser that is busy sends an address again that was already taken: it is not taken a second time, since somebody may
have written something meanwhile. Knows nothing of boxes.
"""

import streamlit as st

# A sample prompt by its id, or a text; the words that answers begin with; 'no': the text is harmless.
PROMPT, MESSAGE, PREFILL, HARMFUL = "prompt", "message", "prefill", "harmful"
_NAMES = (PROMPT, MESSAGE, PREFILL, HARMFUL)
_TAKEN = "chat_link_taken"


def brought() -> dict[str, str]:
    """What the address brings that was not taken yet, '' for what it does not name; {} where it brings nothing."""
    told = {name: st.query_params.get(name, "") for name in _NAMES}
    if not any(told.values()):
        st.session_state.pop(_TAKEN, None)
        return {}
    return {} if st.session_state.get(_TAKEN) == told else told


def taken() -> dict[str, str]:
    """The same, and the address brings it no more."""
    told = brought()
    if told:
        st.session_state[_TAKEN] = told
    for name in _NAMES:
        st.query_params.pop(name, None)
    return told
