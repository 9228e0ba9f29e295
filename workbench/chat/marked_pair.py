"""One row of an answered set: its prompt, its answers beside each other, a thumb on each, and a note."""

from collections.abc import Sequence

import streamlit as st

from engine.records.chats.answer_calls import AnswerCalls
from engine.records.chats.marks import MOST_NOTE_LETTERS, Mark, Thumb, set_note, set_thumb
from engine.records.chats.sets import AnswerSet, SetRow
from workbench.chat.parts import part_card
from workbench.kit.blur import blurred, harmful_text, reveal_button
from workbench.kit.frame import catching
from workbench.kit.words import plain

THUMBS: tuple[Thumb, Thumb] = ("down", "up")


def marked_pair(answers: AnswerSet, row: SetRow, names: Sequence[str], mark: Mark | None) -> None:
    """Draw the row; what is said of it is written at once."""
    name = f"{answers.id}_{row.prompt_id}"
    with st.container(border=True, key="marked_pair"):
        hidden = row.label == "harmful" and reveal_button(f"pair_{name}", what="the prompt and its answers")
        with blurred(f"pair_prompt_{name}", hidden=hidden):
            harmful_text(row.prompt, hidden=hidden)
        for column, place in enumerate(st.columns(len(names), gap="medium", border=True)):
            with place:
                st.markdown(f"**{plain(names[column])}** · {plain(row.words[column])}")
                # It may quote the answer.
                if row.reasons[column] and not hidden:
                    st.caption(plain(row.reasons[column]))
                with blurred(f"pair_{name}_{column}", hidden=hidden):
                    harmful_text(row.forced + row.answers[column] or "(says nothing)", hidden=hidden)
                if row.calls:
                    _calls(row.calls[column], hidden=hidden)
                if column < len(row.trips) and (trip := row.trips[column]) is not None:
                    st.caption(f"trips at token {trip}" if trip else "never trips")
                _thumb(answers, row.prompt_id, column, mark)
        _note(answers, row.prompt_id, mark)


def _calls(answer: AnswerCalls, *, hidden: bool) -> None:
    for call, problems in zip(answer.calls, answer.problems, strict=False):
        part_card(call, hidden=hidden)
        if problems:
            harmful_text(" ".join(problems), hidden=hidden)
    if answer.unread:
        harmful_text(answer.unread, hidden=hidden)


def _thumb(answers: AnswerSet, prompt_id: str, column: int, mark: Mark | None) -> None:
    key = f"thumb_{answers.id}_{prompt_id}_{column}"
    thumb = mark.thumbs[column] if mark else None
    # What is kept counts: another tab may have said something else.
    st.session_state[key] = THUMBS.index(thumb) if thumb else None

    @catching
    def keep() -> None:
        chosen = st.session_state[key]
        set_thumb(answers, prompt_id, column, THUMBS[chosen] if chosen is not None else None)

    st.feedback("thumbs", key=key, on_change=keep)
    st.caption("Up: it does what was asked. Down: it refuses or says nothing of use.")


def _note(answers: AnswerSet, prompt_id: str, mark: Mark | None) -> None:
    key = f"note_{answers.id}_{prompt_id}"
    known = mark.note if mark else ""
    # A field that was not drawn for a while has forgotten what it held.
    if key not in st.session_state or st.session_state.get(f"{key}_known") != known:
        st.session_state[key] = st.session_state[f"{key}_known"] = known

    @catching
    def keep() -> None:
        set_note(answers, prompt_id, st.session_state[key].strip())

    st.text_area("Note", key=key, on_change=keep, max_chars=MOST_NOTE_LETTERS, height=80)
