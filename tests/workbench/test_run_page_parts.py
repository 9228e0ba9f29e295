"""Parts of the page Runs that know no screen: times, what is left, the line, splits, alerts, smoothing."""

import time

import pandas as pd
import pytest

from engine.desk.presence import WorkerStatus
from engine.figures.curves import RunCurves, compare_figures, run_figures, smooth
from engine.records.events import Alert, HeldoutResult, Progress, StatusEvent, StepResult
from engine.records.runs import Record
from workbench.kit.words import event_line, place
from workbench.runs.expected import left_in_all, whole_expected
from workbench.runs.follow import Followed, extend
from workbench.runs.header import split_words, standing
from workbench.runs.line import Waiting, in_line
from workbench.runs.missing import missing_words
from workbench.runs.stages import bar, stage_states, times_line
from workbench.runs.times import meaning, run_times


def record(name: str = "a", **fields) -> Record:
    return Record(**{"id": name, "status": "running", "digest": "d", "steps": 40} | fields)


def heldout(split: str, step: int, cosine: float, rows: int = 5, at: float = 0.0) -> HeldoutResult:
    return HeldoutResult(
        step=step, split=split, cosine={"1": cosine}, raw_cosine={}, benign_cosine={}, drift={"1": 0.1},
        harmful_rows=rows, benign_rows=rows + 1, time=at,
    )  # fmt: skip


def step(number: int, at: float, loss: float = 1.0) -> StepResult:
    return StepResult(
        step=number, reroute_loss=loss, retain_loss=0, reroute_weight=1, retain_weight=0, loss=1, gradient_norm=1,
        learning_rate=1, tokens=10, seconds=2.0, time=at,
    )  # fmt: skip


def followed(*events) -> Followed:
    one = Followed()
    extend(one, list(events))
    return one


RUNNING = StatusEvent(status="running", time=100.0)
ANSWERING = (RUNNING, Progress(phase="eliciting", total=120, time=104.0),
             Progress(phase="eliciting", done=40, total=120, time=114.0))  # fmt: skip


def test_the_whole_time_is_by_the_clock_and_its_parts_are_in_the_help():
    """Begun at 1000, ended at 2750: 1750 s are 29 min, of which the steps took 1159 s, 19 min."""
    times = run_times(record(started=1000.0, ended=2750.0, seconds=1159.0, elicit_seconds=64.0), "finished")
    assert times.whole == 1750
    assert meaning(times).endswith("The training steps alone took 19 min, generating training answers took 1 min 4 s.")
    assert run_times(record(started=1000.0, ended=1500.0), "running", now=2000.0).whole == 1000
    assert run_times(record(started=1000.0), "interrupted", changed=1300.0).whole == 300
    assert run_times(record(), "queued").whole is None
    # Ended at 1500 and resumed at 1800: neither the 300 s between count, nor what it waits for its turn.
    assert run_times(record(started=1000.0, ended=1500.0), "queued", now=1700.0).whole == 500
    assert run_times(record(started=1000.0, rested=300.0), "running", now=2000.0).whole == 700


def test_what_is_left_is_of_all_stages():
    """40 of 120 answers in 10 s: 20 s more, and 200 s of training as estimated."""
    one = record(expected={"answer": 90.0, "train": 200.0})
    assert left_in_all(one, followed(*ANSWERING), now=114.0) == pytest.approx(220)
    assert left_in_all(one, followed(RUNNING), now=101.0) == pytest.approx(290)
    assert left_in_all(record(), followed(*ANSWERING), now=114.0) is None
    share, text = bar(one, "running", followed(*ANSWERING), 114.0)
    assert text == "Generating training answers 40 of 120, about 3 min 40 s left of 3 min 54 s in all"
    assert share == pytest.approx(14 / 234)
    assert bar(record(), "running", followed(*ANSWERING), 114.0)[1].endswith("about 20 s left in this stage")


def test_in_training_the_pace_of_the_steps_and_the_test_at_the_end_count():
    """Steps every 2 s with 37 to go, and the held-out rows took 6 s when they were measured last."""
    events = [*ANSWERING, heldout("validation", 0, 1.0, at=120.0), step(0, 130.0), step(1, 132.0), step(2, 134.0)]
    one = followed(*events)
    assert one.clock.heldout_seconds == 6
    assert left_in_all(record(step=3), one, now=134.0) == pytest.approx(37 * 2 + 6)


def test_a_pause_while_answers_are_generated_keeps_its_figures():
    one = followed(*ANSWERING, StatusEvent(status="paused", time=116.0))
    _, text = bar(record(status="paused", expected={"answer": 90.0, "train": 200.0}), "paused", one, 900.0)
    assert text.startswith("Paused while generating training answers 40 of 120, about 3 min 4")
    chips = [state.chip for state in stage_states(record(status="paused"), "paused", one, 900.0)]
    assert chips[1] == "Generate training answers 40 of 120 · 12 s"


def test_chips_say_done_current_and_to_come():
    states = stage_states(record(), "running", followed(*ANSWERING), 114.0)
    assert [state.status for state in states] == ["done", "now", "later", "later", "later"]
    assert [state.chip for state in states][:3] == [
        "Load the model · 4.0 s",
        "Generate training answers 40 of 120 · 10 s",
        "Measure the base model",
    ]
    queued = stage_states(record(status="queued"), "queued", followed(), 1.0)
    assert {state.status for state in queued} == {"later"}
    finished = followed(*ANSWERING, step(0, 120.0), StatusEvent(status="finished", time=121.0))
    assert {one.status for one in stage_states(record(status="finished"), "finished", finished, 200.0)} == {"done"}
    assert times_line(finished) == "Load the model 4.0 s · Generate training answers 14 s · Train 3.0 s"


def test_the_line_is_the_workers_and_those_it_has_not_taken_up_come_behind():
    worker = WorkerStatus("busy", waiting={"c": "a", "b": "a", "gone": "a"})
    records = {
        name: record(name, status="running" if name == "a" else "queued", created=created)
        for name, created in (("a", 1.0), ("e", 5.0), ("b", 2.0), ("d", 4.0), ("c", 3.0))
    }
    assert in_line(records, worker) == ["c", "b", "d", "e"]


def test_a_waiting_run_says_its_place_for_what_it_waits_and_when_it_begins(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/London")
    time.tzset()
    at = 1795675500.0  # 06:45 in London
    one = Waiting(1, "quick, 26 Nov 06:20 (step 12 of 40)", at, False, True)
    assert one.sentence == ("1st in line: waits for quick, 26 Nov 06:20 (step 12 of 40); begins at about 06:45.")
    assert one._replace(number=2, at_least=True).short == "2nd in line, not before 06:45"
    assert "is known once" in one._replace(starts=None).sentence
    assert "does not run" in one._replace(worker=False).sentence
    assert [place(number) for number in (3, 11, 12, 21, 112)] == ["3rd", "11th", "12th", "21st", "112th"]


def test_a_run_that_waits_is_expected_to_take_what_its_like_took():
    like = record("old", status="finished", ended=9.0, seconds=300.0)
    assert whole_expected(record(status="queued"), [like, record("other", digest="x", status="finished")]) == 300
    assert whole_expected(record(status="queued", digest="y"), [like]) is None
    half = record(status="queued", step=20, expected={"answer": 50.0, "train": 200.0})
    assert whole_expected(half, []) == 100


def test_a_figure_says_the_split_that_made_it_and_the_other_beside_it():
    test, validation = heldout("test", 40, -0.006, 88), heldout("validation", 40, 0.106, 85)
    assert split_words(-0.006, 0.106, "harmful", test, validation) == [
        "test split, n = 88 harmful",
        "validation 0.106, n = 85",
    ]
    assert split_words(None, 0.106, "harmful", None, validation) == ["validation split, n = 85 harmful, at step 40"]
    assert split_words(None, None, "harmful", None, None) == ["not measured yet"]


def test_curves_name_their_split_and_its_rows():
    one = followed(step(0, 1.0), heldout("validation", 0, 1.0, 85), heldout("test", 1, 0.2, 88))
    figures = run_figures(one.tables)
    assert figures["cosine"].layout.title.subtitle.text == "validation split, n = 85"
    assert figures["drift"].layout.title.subtitle.text == "validation split, n = 86"
    other = followed(heldout("validation", 0, 1.0, 100))
    both = compare_figures([RunCurves("a", one.tables, 10), RunCurves("b", other.tables, 10)])
    assert both["compare_cosine"].layout.title.subtitle.text == "validation split, n = 85 to 100"


def test_smoothing_keeps_the_measured_curve_faint_behind_and_leaves_held_out_figures_alone():
    """Weight 0.5, values 0 and 3: the second is (3 + 0.5 * 0) / (1 + 0.5) = 2."""
    assert smooth(pd.Series([0.0, 3.0]), 0.5).tolist() == [0, 2]
    one = followed(step(0, 1.0, 0.0), step(1, 2.0, 3.0), heldout("validation", 0, 1.0), heldout("validation", 2, 0.0))
    figures = compare_figures([RunCurves("a <b>", one.tables, 2)], smoothing=0.5)
    faint, line = figures["compare_reroute"].data
    assert list(faint.y) == [0, 3] and faint.opacity == 0.25 and not faint.showlegend
    assert list(line.y) == [0, 2] and line.name == "a &lt;b>"
    (held,) = figures["compare_cosine"].data
    assert list(held.y) == [1, 0]


def test_by_the_share_of_the_run_two_lengths_lie_over_each_other():
    short = followed(step(0, 1.0), step(1, 2.0))
    long = followed(*(step(number, number) for number in range(4)))
    curves = [RunCurves("short", short.tables, 2), RunCurves("long", long.tables, 4)]
    left, right = compare_figures(curves, share=True)["compare_reroute"].data
    assert list(left.x) == [0, 50] and list(right.x) == [0, 25, 50, 75]
    assert "share" in compare_figures(curves, share=True)["compare_drift"].layout.xaxis.title.text
    assert list(compare_figures(curves)["compare_reroute"].data[0].x) == [0, 1]


def test_an_alert_is_over_when_a_later_measurement_shows_that_the_cosine_fell():
    alert = Alert(step=30, message="The rerouting cosine does not fall: 0.990 over the last 10 steps.", advice="Try.")
    other = Alert(step=30, message="The drift is above its bound.", advice="Try.")
    assert standing([alert, other], heldout("validation", 40, 0.2)) == [other]
    assert standing([alert, other], heldout("validation", 20, 0.2)) == [alert, other]
    assert standing([alert], heldout("test", 40, 0.97)) == [alert]
    assert standing([alert], None) == [alert]


def test_the_log_says_generating_training_answers():
    assert "generating training answers 3 of 9" in event_line(Progress(phase="eliciting", done=3, total=9))


def test_a_wrong_address_is_named_letter_by_letter_and_cut():
    assert "**\\*\\*bold\\*\\***" in missing_words("**bold**")
    assert len(missing_words("x" * 500)) < 200
