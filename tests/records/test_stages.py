"""Stages of a run, worked out by hand from its events."""

import pytest

from engine.records.events import AnyEvent, CheckpointResult, HeldoutResult, Progress, StatusEvent, StepResult
from engine.records.stages import StageClock

ROWS = {"cosine": {"1": 0.5}, "raw_cosine": {}, "benign_cosine": {}, "drift": {}, "harmful_rows": 3, "benign_rows": 2}


def status(word: str, at: float) -> StatusEvent:
    return StatusEvent(status=word, time=at)


def count(phase: str, done: int, at: float, total: int = 100) -> Progress:
    return Progress(phase=phase, done=done, total=total, time=at)


def step(number: int, at: float, seconds: float) -> StepResult:
    return StepResult(
        step=number, reroute_loss=1, retain_loss=0, reroute_weight=1, retain_weight=0, loss=1, gradient_norm=1,
        learning_rate=1, tokens=1, seconds=seconds, time=at,
    )  # fmt: skip


def told(*events: AnyEvent) -> StageClock:
    clock = StageClock()
    for event in events:
        clock.take(event)
    return clock


BEGUN = (status("running", 100), count("loading", 0, 100, 0), count("eliciting", 0, 104), count("eliciting", 20, 114))


def test_each_stage_has_the_time_until_the_next_one_begins():
    """Load 100 to 104, answers 104 to 130, measuring 130 to 138, then a step that took 2 of the 5 seconds to 143, a
    step to 145, the test from 146 to 149."""
    clock = told(
        *BEGUN,
        count("measuring", 0, 130, 4),
        HeldoutResult(step=0, split="validation", time=138, **ROWS),
        step(0, 143, 2.0),
        step(1, 145, 2.0),
        count("testing", 0, 146, 0),
        HeldoutResult(step=2, split="test", time=149, **ROWS),
        status("finished", 149),
    )
    assert clock.seconds == {"load": 4, "answer": 26, "measure": 11, "train": 5, "test": 3}
    assert not clock.going and not clock.coarse and clock.heldout_seconds == 3


def test_a_pause_keeps_the_count_and_its_time_belongs_to_no_stage():
    clock = told(*BEGUN, status("paused", 116))
    assert clock.counted is not None and clock.counted.counted == " 20 of 100"
    assert clock.spent("answer", 500) == 12
    for event in (status("running", 500), count("eliciting", 60, 520)):
        clock.take(event)
    assert clock.stage == "answer" and clock.seconds["answer"] == 32


def test_what_is_left_of_a_stage_goes_by_its_pace_without_pauses():
    """40 answers in 10 + 2 + 8 seconds of work, so the other 40 take 20 more."""
    clock = told(count("eliciting", 0, 0), status("running", 100))
    clock = told(
        status("running", 100),
        count("eliciting", 20, 104),
        count("eliciting", 40, 114),
        status("paused", 116),
        status("running", 500),
        count("eliciting", 60, 508),
    )
    assert clock.left_in_stage() == pytest.approx(20)


def test_a_model_that_is_downloaded_first_is_counted_as_it_is_loaded():
    clock = told(
        status("running", 100), count("fetching", 0, 101), count("fetching", 50, 111), count("loading", 0, 121, 0)
    )
    assert clock.stage == "load" and clock.seconds["load"] == 21
    clock = told(status("running", 100), count("fetching", 0, 101), count("fetching", 50, 111))
    assert clock.counted is not None and clock.counted.counted == " 50 of 100" and clock.left_in_stage() == 10


def test_a_new_sitting_begins_with_loading_and_adds_to_the_times():
    clock = told(*BEGUN, status("interrupted", 120), status("running", 1000), count("loading", 0, 1001, 0))
    assert clock.stage == "load" and clock.counted is not None and clock.counted.phase == "loading"
    assert clock.seconds == {"load": 5, "answer": 16}
    assert clock.spent("load", 1004) == 8


def test_a_capture_between_steps_does_not_lead_back():
    clock = told(*BEGUN, step(0, 140, 1.0), count("eliciting", 1, 141), count("capturing", 1, 142), step(1, 144, 1.0))
    assert clock.stage == "train" and clock.seconds["train"] == 5


def test_a_packed_run_has_no_progress_and_says_so():
    clock = told(
        status("running", 0),
        HeldoutResult(step=0, split="validation", time=60, **ROWS),
        step(0, 70, 4.0),
        CheckpointResult(step=1, name="step-000001", time=71),
        status("finished", 75),
    )
    assert clock.coarse and clock.seconds == {"load": 66, "train": 9}
