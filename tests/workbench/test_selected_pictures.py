"""The list of selected prompts shows what they show: two pictures, a harmful one's as blurred colours, one that was not
kept as a sentence."""

from pathlib import Path

import pytest
from making_runs import write_run
from making_seers import painted
from making_shown import write_shown_capture
from streamlit.testing.v1 import AppTest

from engine.records.captures.capture import Capture
from engine.records.captures.thumbnails import EDGE, thumbnails, write_thumbnails
from engine.records.events import ProbeAnswer, ProbeResult
from engine.records.pictures import picture_at, read_picture
from workbench.kit import state
from workbench.representations.selection import _probe_answers


@pytest.fixture
def capture(settings, tmp_path) -> Capture:
    """Of two harmful and two benign prompts each has a picture; the last one's was not kept."""
    return write_shown_capture(tmp_path / "capture", each=2, pictures=tmp_path / "shown", kept=3)


def drawn(capture: Capture, rows: set[int]) -> AppTest:
    def page() -> None:
        from pathlib import Path

        import streamlit as st

        from engine.records.captures.capture import checkpoint_name, read_capture
        from workbench.representations.selection import selected_prompts

        capture = read_capture(Path(st.session_state["folder"]))
        assert capture is not None
        selected_prompts(capture, None, checkpoint_name(20), frozenset(st.session_state["rows"]))

    state.settings.cache_clear()
    app = AppTest.from_function(page, default_timeout=500)
    app.session_state["folder"], app.session_state["rows"] = str(capture.folder), rows
    app.run()
    state.settings.cache_clear()
    assert not app.exception
    return app


def test_thumbnails_are_small_and_tell_which_are_missing(capture: Capture):
    files = [thumbnails(capture, prompt) for prompt in capture.index.prompts]
    assert [one == [None] for one in files] == [False, False, False, True]
    sizes = [read_picture(file).image.size for [file] in files if file]
    assert sizes == [(EDGE, 12)] * 3
    # What is gone takes nothing with it.
    write_thumbnails(
        capture.folder, [picture_at(painted(Path(capture.folder) / "x.png")).model_copy(update={"file": "/gone"})]
    )


def test_a_selection_shows_each_prompts_picture_hides_a_harmful_one_and_says_what_was_not_kept(capture: Capture):
    app = drawn(capture, {0, 2, 3})
    pictures = app.image
    assert len(pictures) == 2
    labels = [one.label for one in app.button]
    assert labels.count("Reveal picture, prompt and answers") == 1
    assert " ".join(one.value for one in app.caption).count("kept no copy") == 1
    hidden, open_to_all = (one.value for one in pictures)
    next(one for one in app.button if one.label.startswith("Reveal")).click().run()
    revealed, same = (one.value for one in app.image)
    assert revealed != hidden and same == open_to_all


def test_of_two_prompts_of_one_text_each_has_its_own_answer(settings):
    """The same question about two pictures: the run answered the first alone while it trained."""
    run = write_run(settings, name="mine")
    said = ProbeAnswer(prompt_id="first", label="benign", prompt="What is this?", answer="A cat.")
    run.append(ProbeResult(step=20, answers=(said,)))
    found = _probe_answers(run, 20)
    assert found["benign", "first", "What is this?"] == (20, "A cat.")
    assert ("benign", "second", "What is this?") not in found
