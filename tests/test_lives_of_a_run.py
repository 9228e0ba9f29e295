"""A run that is broken off and goes on, or whose files change meanwhile: its records tell of one life alone."""

import json
import os
import time

import pytest
from safetensors.numpy import load_file

from engine.bookkeeping import RunBook, live_changes, reconciled
from engine.compute.training.checkpoints import list_checkpoints
from engine.records.captures.capture import TRAINING, read_capture
from engine.records.events import (
    KEPT,
    Alert,
    ControlEvent,
    HeldoutResult,
    StatusEvent,
    StepResult,
    changes_value,
    effective,
)
from engine.records.runs import Run, create_run
from engine.tasks import Task
from engine.worker import Worker


@pytest.fixture
def worker(settings) -> Worker:
    return Worker(settings)


def begun(worker: Worker, run: Run, *, steps: int) -> None:
    """Train so many steps; what comes behind them is up to the test."""
    worker.queue.submit("train", run_id=run.id)
    trained(worker, run, steps=steps)


def trained(worker: Worker, run: Run, *, steps: int) -> None:
    while sum(event.kind == "step" for event in run.events()[0]) < steps:
        worker.turn()


def ended(worker: Worker, run: Run) -> Run:
    while worker.turn():
        pass
    return run


def stopped(worker: Worker, run: Run, how: str) -> None:
    worker.queue.control(run.id, how)
    ended(worker, run)
    assert run.record().status == "stopped"


def test_a_run_that_begins_anew_counts_each_step_and_each_look_once(settings, worker, tiny_spec):
    run = create_run(settings.runs, tiny_spec())
    begun(worker, run, steps=3)
    stopped(worker, run, "cancel")
    worker.queue.submit("train", run_id=run.id)
    ended(worker, run)
    events = effective(run.events()[0])
    assert run.record().status == "finished"
    assert [event.step for event in events if event.kind == "step"] == list(range(6))
    looks = [event.step for event in events if event.kind == "heldout" and event.split == "validation"]
    assert looks == [0, 3, 6] and [event.step for event in events if event.kind == "probe"] == [0, 3, 6]


def test_what_was_changed_in_a_run_that_was_cancelled_does_not_hold_when_it_begins_anew(settings, worker, tiny_spec):
    run = create_run(settings.runs, tiny_spec())
    begun(worker, run, steps=2)
    worker.queue.control(run.id, "learning_rate", value=0.5)
    trained(worker, run, steps=4)
    stopped(worker, run, "cancel")
    assert max(event.learning_rate for event in run.events()[0] if event.kind == "step") > 0.1
    worker.queue.submit("train", run_id=run.id)
    ended(worker, run)
    events = effective(run.events()[0])
    assert [event.step for event in events if event.kind == "step"] == list(range(6))
    assert max(event.learning_rate for event in events if event.kind == "step") < 0.1
    assert not [event for event in events if changes_value(event)]
    assert "learning_rate" in [event.control for event in run.controls()], "its history is kept"


def with_one_row_less(settings, run: Run) -> None:
    """The last harmful row of the training split is taken out of its file."""
    file = settings.runs.parent / run.spec().data.circuit_breaker
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    last = max(place for place, row in enumerate(rows) if row["split"] == "train")
    file.write_text("".join(json.dumps(row) + "\n" for place, row in enumerate(rows) if place != last))


def test_a_cancel_throws_away_also_where_closing_fails(settings, worker, tiny_spec, monkeypatch):
    run = create_run(settings.runs, tiny_spec(**{"optimizer.steps": 8, "captures.checkpoint_every": 1}))
    begun(worker, run, steps=3)
    assert list_checkpoints(run.checkpoints_folder)
    close = Task.close

    def full(task: Task) -> None:
        close(task)
        raise OSError("No space left on device")

    monkeypatch.setattr(Task, "close", full)
    worker.queue.control(run.id, "cancel")
    ended(worker, run)
    assert run.record().status == "failed" and not list_checkpoints(run.checkpoints_folder)


def test_a_cancel_that_threw_nothing_away_leaves_the_changes_in_force(settings, worker, tiny_spec):
    """As where the worker was killed while it closed the run: the checkpoints are there."""
    run = create_run(settings.runs, tiny_spec(**{"optimizer.steps": 8}))
    begun(worker, run, steps=2)
    worker.queue.control(run.id, "learning_rate", value=0.5)
    trained(worker, run, steps=4)
    stopped(worker, run, "stop")
    run.append(ControlEvent(control="cancel", step=run.record().step))
    assert [event.value for event in live_changes(run) if changes_value(event)] == [0.5]
    worker.queue.submit("train", run_id=run.id)
    ended(worker, run)
    rates = [event.learning_rate for event in effective(run.events()[0]) if event.kind == "step"]
    assert len(rates) == 8 and rates[-1] > 0.01 > rates[0]


def test_a_run_that_goes_on_in_another_number_format_says_so_once(settings, worker, tiny_spec):
    """As on another machine, whose processor or GPU computes in another."""
    run = create_run(settings.runs, tiny_spec(**{"optimizer.steps": 12}))

    def said() -> list[str]:
        return [
            event.message
            for event in effective(run.events()[0])
            if isinstance(event, Alert) and "computed in" in event.message
        ]

    begun(worker, run, steps=2)
    stopped(worker, run, "stop")
    run.update(device="cuda bfloat16")
    for steps in (4, 6):
        begun(worker, run, steps=steps)
        stopped(worker, run, "stop")
    (message,) = said()
    assert "so far were computed in bfloat16, those from here on in float32" in message
    assert run.record().device == "cpu float32"


def test_a_run_that_goes_on_with_other_packages_says_so_once(settings, worker, tiny_spec):
    run = create_run(settings.runs, tiny_spec(**{"optimizer.steps": 12}))
    begun(worker, run, steps=2)
    stopped(worker, run, "stop")
    here = run.record().versions
    run.update(versions=here | {"torch": "1.0.0"})
    for steps in (4, 6):
        begun(worker, run, steps=steps)
        stopped(worker, run, "stop")
    alerts = [event.message for event in effective(run.events()[0]) if isinstance(event, Alert)]
    (message,) = [alert for alert in alerts if "goes on with" in alert]
    assert f"torch {here['torch']} in place of 1.0.0" in message and run.record().versions == here


def test_a_run_that_was_left_ended_when_it_wrote_for_the_last_time(settings, worker, tiny_spec):
    """The worker died on Friday, the next one begins on Monday."""
    run = create_run(settings.runs, tiny_spec(**{"optimizer.steps": 12}))
    begun(worker, run, steps=2)
    friday = time.time() - 3 * 86_400
    os.utime(run.folder / "record.json", (friday, friday))
    reconciled(settings)
    record = run.record()
    assert record.status == "interrupted" and record.ended == pytest.approx(friday, abs=1)
    # While it goes on it has not ended.
    fresh = Worker(settings)
    fresh.queue.submit("train", run_id=run.id)
    trained(fresh, run, steps=4)
    assert run.record().status == "running" and run.record().ended is None
    stopped(fresh, run, "stop")


def test_a_worker_for_one_run_leaves_others_in_the_queue(settings, worker, tiny_spec):
    """As `python -m engine train` in a folder in which another run waits, which is the next worker's."""
    mine, other = create_run(settings.runs, tiny_spec()), create_run(settings.runs, tiny_spec(seed=5))
    worker.only = mine.id
    worker.queue.submit("train", run_id=other.id)
    worker.queue.submit("train", run_id=mine.id)
    ended(worker, mine)
    for task in list(worker.tasks):
        worker._leave(task)
    assert (mine.record().status, other.record().status) == ("finished", "queued")
    assert not any(event.kind == "step" for event in other.events()[0])
    following = Worker(settings)
    following.queue.submit("train", run_id=other.id)
    assert ended(following, other).record().status == "finished"


def test_the_figures_of_a_record_are_of_the_weights_that_are_kept(settings, tiny_spec):
    book = RunBook(create_run(settings.runs, tiny_spec()))
    for step, drift in ((2, 0.1), (4, 0.2), (6, 0.6)):
        book.write(
            StepResult(**dict.fromkeys(StepResult.model_fields, 0.0) | {"step": step - 1, "tokens": 1, "kind": "step"})
        )
        book.write(
            HeldoutResult(
                step=step, split="validation", cosine={"1": 0.5}, raw_cosine={}, benign_cosine={}, drift={"1": drift},
                harmful_rows=1, benign_rows=1,
            )
        )  # fmt: skip
    assert book.run.record().figures["validation_drift"] == 0.6
    book.write(StatusEvent(status=KEPT, step=4, message="the best"))
    record = book.run.record()
    assert (record.figures["validation_drift"], record.figures["validation_step"]) == (0.2, 4.0)
    # From now on it acts with another strength, at which nothing was measured.
    book.write(StatusEvent(status=KEPT, step=4, message="half as strong"))
    assert not [name for name in book.run.record().figures if name.startswith("validation_")]


def test_a_prompt_file_that_changed_before_a_resume_is_said_once(settings, worker, tiny_spec):
    run = create_run(settings.runs, tiny_spec(**{"optimizer.steps": 12}))
    before = run.record()

    def said() -> list[Alert]:
        alerts = [event for event in effective(run.events()[0]) if isinstance(event, Alert)]
        return [alert for alert in alerts if "Changed since this run began" in alert.message]

    begun(worker, run, steps=2)
    stopped(worker, run, "stop")
    with_one_row_less(settings, run)
    for steps in (4, 6):
        begun(worker, run, steps=steps)
        stopped(worker, run, "stop")
    (first,) = said()
    assert run.spec().data.circuit_breaker in first.message and run.spec().data.retain not in first.message
    # Another change of the same file is news.
    with_one_row_less(settings, run)
    worker.queue.submit("train", run_id=run.id)
    ended(worker, run)
    assert run.record().status == "finished" and len({alert.message for alert in said()}) == len(said()) == 2
    assert (run.record().sources, run.record().digest) == (before.sources, before.digest)


def test_a_run_that_waited_while_a_prompt_file_changed_is_known_by_what_it_trained_on(settings, worker, tiny_spec):
    run = create_run(settings.runs, tiny_spec())
    with_one_row_less(settings, run)
    # As of one that was sent before its second file was there.
    retain = run.spec().data.retain
    run.update(sources={name: digest for name, digest in run.record().sources.items() if name != retain})
    worker.queue.submit("train", run_id=run.id)
    ended(worker, run)
    again = create_run(settings.runs, tiny_spec())
    assert (run.record().sources, run.record().digest) == (again.record().sources, again.record().digest)
    assert not [event for event in run.events()[0] if isinstance(event, Alert) and "Changed since" in event.message]


def test_a_run_that_is_stopped_before_it_goes_on_is_at_its_last_checkpoint(settings, worker, tiny_spec):
    """As after a kill between two checkpoints: the record had got further."""
    run = create_run(settings.runs, tiny_spec(**{"optimizer.steps": 40}))
    begun(worker, run, steps=4)
    stopped(worker, run, "stop")
    last = int(list_checkpoints(run.checkpoints_folder)[-1].name.removeprefix("step-"))
    run.update(step=last + 3, status="interrupted")
    worker.queue.submit("train", run_id=run.id)
    worker.turn()
    assert run.record().step == last
    stopped(worker, run, "stop")
    assert run.record().step == last


def test_a_prompt_file_that_is_gone_at_the_end_makes_no_failed_run(settings, worker, tiny_spec):
    run = create_run(settings.runs, tiny_spec(**{"captures.final_prompts": 4}))
    begun(worker, run, steps=2)
    for name in (run.spec().data.circuit_breaker, run.spec().data.retain):
        (settings.runs.parent / name).unlink()
    ended(worker, run)
    assert run.record().status == "finished" and (run.adapter_folder / "adapter_config.json").is_file()
    (said,) = [event for event in run.events()[0] if isinstance(event, Alert) and "not captured" in event.message]
    assert "does not exist" in said.message and "The run itself is complete" in said.advice


def test_a_film_whose_prompts_changed_begins_anew(settings, worker, tiny_spec):
    run = create_run(settings.runs, tiny_spec(**{"captures.capture_every": 2, "captures.capture_prompts": 4}))
    begun(worker, run, steps=3)
    stopped(worker, run, "stop")
    file = settings.runs.parent / run.spec().data.circuit_breaker
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    last = max(place for place, row in enumerate(rows) if row["split"] == "validation")
    file.write_text("".join(json.dumps(row) + "\n" for place, row in enumerate(rows) if place != last))
    worker.queue.submit("train", run_id=run.id)
    ended(worker, run)
    capture = read_capture(run.representations_folder / TRAINING)
    assert capture is not None and run.record().status == "finished"
    for name in capture.index.checkpoints:
        (found,) = capture.folder.glob(f"{name}*.safetensors")
        counts = {tensor.shape[0] for tensor in load_file(found).values() if tensor.ndim == 2}
        assert counts == {len(capture.index.prompts)}, name


def test_what_was_changed_before_a_cancel_holds_in_no_later_life(settings, worker, tiny_spec):
    """The second life wrote a checkpoint, and goes on from it."""
    run = create_run(settings.runs, tiny_spec(**{"optimizer.steps": 8}))
    begun(worker, run, steps=2)
    worker.queue.control(run.id, "learning_rate", value=0.5)
    trained(worker, run, steps=4)
    stopped(worker, run, "cancel")
    begun(worker, run, steps=6)
    stopped(worker, run, "stop")
    assert list_checkpoints(run.checkpoints_folder) and not [one for one in live_changes(run) if changes_value(one)]
    worker.queue.submit("train", run_id=run.id)
    ended(worker, run)
    rates = [event.learning_rate for event in effective(run.events()[0]) if event.kind == "step"]
    assert len(rates) == 8 and max(rates) < 0.1


def test_a_run_that_goes_on_shows_no_weights_of_an_earlier_stop(settings, worker, tiny_spec):
    run = create_run(settings.runs, tiny_spec(**{"optimizer.steps": 8}))
    begun(worker, run, steps=2)
    stopped(worker, run, "stop")
    assert (run.adapter_folder / "adapter_config.json").is_file()
    began = len(run.events()[0])
    worker.queue.submit("train", run_id=run.id)
    while not [event for event in run.events()[0][began:] if event.kind == "step"]:
        worker.turn()
    assert not run.adapter_folder.exists()
    ended(worker, run)
    assert (run.adapter_folder / "adapter_config.json").is_file()


def test_a_bound_on_drift_without_benign_rows_stops_nothing_and_says_so(settings, worker, tiny_spec):
    run = create_run(settings.runs, tiny_spec(**{"optimizer.stop_drift": 0.5}))
    file = settings.runs.parent / run.spec().data.retain
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows if row["split"] != "validation"))
    worker.queue.submit("train", run_id=run.id)
    ended(worker, run)
    assert run.record().status == "finished" and run.record().step == 6
    (alert,) = [event for event in run.events()[0] if isinstance(event, Alert)]
    assert alert.message.startswith("optimizer.stop_drift goes by validation rows, and there are no benign ones")


def test_a_side_without_an_answer_is_said(settings, worker, tiny_spec, monkeypatch):
    def silent(_model, prompts, *_, **__):
        yield from ()
        return [pair for pair in [] if prompts]

    monkeypatch.setattr("engine.jobs.run_rows.elicit", silent)
    run = create_run(settings.runs, tiny_spec())
    worker.queue.submit("train", run_id=run.id)
    ended(worker, run)
    assert run.record().status == "failed"
    assert run.record().error.startswith("The base model said nothing to any harmful prompt of the training split")


def test_a_run_that_begins_anew_took_only_what_its_second_life_took(settings, worker, tiny_spec):
    run = create_run(settings.runs, tiny_spec())
    begun(worker, run, steps=3)
    run.update(elicit_seconds=500.0, started=1000.0)
    stopped(worker, run, "cancel")
    run.update(seconds=700.0)
    worker.queue.submit("train", run_id=run.id)
    ended(worker, run)
    record = run.record()
    assert record.status == "finished" and record.seconds < 600 and record.elicit_seconds < 400
    assert record.started > 2000
