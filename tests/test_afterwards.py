"""What follows a training by itself: a small evaluation that survives deaths, and a stop when benign rows drift."""

import json
import shutil

import pytest
import torch
from making import write_prompts
from safetensors.torch import load_file

from engine.afterwards import note_evaluation
from engine.compute.evaluation import runner
from engine.desk.queue import Job, Queue
from engine.jobs.own_rows import own_rows, trained_texts
from engine.records.errors import RunError
from engine.records.evaluation.findings import evaluations_folder, read_evaluations
from engine.records.evaluation.own import own_plan
from engine.records.events import Alert, ControlEvent
from engine.records.outcome import outcome_of
from engine.records.prompt_files import read_source
from engine.records.runs import Run, create_run, delete_run
from engine.worker import Worker

ROWS = {"captures.evaluation_rows": 2}


@pytest.fixture
def worker(settings) -> Worker:
    return Worker(settings)


@pytest.fixture
def start(settings, tiny_spec):
    def started(**changes) -> Run:
        run = create_run(settings.runs, tiny_spec(**(ROWS | changes)))
        Queue(settings.desk).submit("train", run_id=run.id)
        return run

    return started


def until(worker: Worker, condition, *, turns: int = 4000) -> None:
    for _ in range(turns):
        if condition():
            return
        worker.turn()
    raise AssertionError("it did not happen")


def note(run: Run) -> str:
    return run.record().evaluation


def test_two_runs_are_each_evaluated_on_their_own_held_out_rows_when_they_end(worker, settings, start):
    runs = [start(), start(seed=1)]
    until(worker, lambda: all(note(run) == "done" for run in runs))
    for run in runs:
        assert run.record().status == "finished"
        (found,) = read_evaluations(run, settings)
        assert found.run == f"{run.id}@6" and set(found.attacks) == {"direct", "prefill"}
        assert (found.harmful, found.benign) == ("own test split", "own test split")
        assert found.attacks["direct"].base.n == found.benign_answers["rerouted"].n == 2
        assert outcome_of(run, settings).evaluation == found.key
    assert runs[0].record().best is None or runs[0].record().best.step <= 6


def test_the_rows_are_those_that_training_never_saw(settings, tiny_spec, tmp_path):
    run = create_run(settings.runs, tiny_spec())
    for label in ("harmful", "benign"):
        found = own_rows(run, label)
        numbers = sorted(int(row.prompt.split("number ")[1].split()[0]) for row in found.rows)
        assert numbers == [8, 9, 10, 11] and found.source == "own test split", label
        assert all(not row.target for row in found.rows)
    assert len(own_rows(run, "harmful", limit=3).rows) == 3


@pytest.mark.parametrize(
    ("kept", "source"), [(("train", "validation"), "own validation split"), (("train",), "sample")]
)
def test_a_set_without_a_test_split_gives_its_validation_rows_and_else_the_sample_set_stands_in(
    settings, tiny_spec, tmp_path, kept, source
):
    file = write_prompts(tmp_path / "some.jsonl", kind="harmful")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines if line["split"] in kept))
    found = own_rows(create_run(settings.runs, tiny_spec(**{"data.circuit_breaker": str(file)})), "harmful", limit=4)
    assert found.source.startswith(source) and len(found.rows) <= 4
    trained = {line["prompt"] for line in lines if line["split"] == "train"}
    assert trained.isdisjoint(row.prompt for row in found.rows)


def test_a_row_that_is_in_the_training_split_too_is_not_held_out(settings, tiny_spec, tmp_path):
    file = write_prompts(tmp_path / "some.jsonl", kind="harmful")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[8]["prompt"] = lines[0]["prompt"]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = own_rows(create_run(settings.runs, tiny_spec(**{"data.circuit_breaker": str(file)})), "harmful")
    assert len(found.rows) == 3 and lines[0]["prompt"] not in {row.prompt for row in found.rows}


def test_a_file_that_is_gone_is_stood_in_for_and_that_is_said(settings, tiny_spec, tmp_path):
    file = write_prompts(tmp_path / "some.jsonl", kind="harmful")
    run = create_run(settings.runs, tiny_spec(**{"data.circuit_breaker": str(file)}))
    file.unlink()
    found = own_rows(run, "harmful", limit=2)
    assert "cannot be read" in found.source and len(found.rows) == 2


def test_what_the_other_sources_train_on_is_known_where_one_is_gone(settings, tiny_spec, tmp_path):
    trained, gone = tmp_path / "trained.jsonl", write_prompts(tmp_path / "gone.jsonl", kind="harmful")
    asked = [prompt.text for prompt in read_source("sample:harmful", label="harmful") if prompt.split == "test"]
    rows = [{"prompt": text, "split": "train"} for text in asked[:-3]]
    trained.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = create_run(settings.runs, tiny_spec(**{"data.circuit_breaker": f"{trained}; {gone}"}))
    gone.unlink()
    found = own_rows(run, "harmful")
    assert "cannot be read" in found.source and {row.prompt for row in found.rows} == set(asked[-3:])
    assert set(asked[:-3]) <= set(trained_texts(run))


def test_a_run_that_was_stopped_and_kept_is_evaluated_a_cancelled_one_is_not(worker, settings, start):
    long = {"optimizer.steps": 500, "captures.heldout_every": 500, "captures.probe_every": 500}
    stopped = start(**long)
    until(worker, lambda: stopped.record().step >= 2)
    worker.queue.control(stopped.id, "stop")
    until(worker, lambda: note(stopped) == "done")
    assert stopped.record().status == "stopped" and outcome_of(stopped, settings).evaluation
    cancelled = start(**long)
    until(worker, lambda: cancelled.record().step >= 2)
    worker.queue.control(cancelled.id, "cancel")
    until(worker, lambda: cancelled.record().status == "stopped")
    assert note(cancelled) == "" and not read_evaluations(cancelled, settings)


def test_none_is_begun_where_the_spec_asks_for_none(worker, start):
    run = start(**{"captures.evaluation_rows": 0})
    until(worker, lambda: run.record().status == "finished")
    assert note(run) == "" and not worker.queue.newest("evaluate")


def test_a_worker_that_dies_before_the_evaluation_has_it_made_up_for_once(worker, settings, start):
    run = start()
    until(worker, lambda: run.record().status == "finished")
    assert note(run) == "due"
    shutil.rmtree(settings.desk)
    # Another evaluation of this run that waits is not its own.
    asked = own_plan(run.id, 6, 2).model_copy(update={"harmful": "strongreject", "limit": 1})
    Queue(settings.desk).submit("evaluate", run_id=run.id, payload=asked.model_dump(mode="json"))

    second = Worker(settings)
    second.serve(until=lambda: note(run) == "retried")
    job = second.queue.newest("evaluate")[0]
    assert job.payload == own_plan(run.id, 6, 2).model_dump(mode="json")
    shutil.rmtree(settings.desk)
    third = Worker(settings)
    third.serve(until=lambda: note(run) == "failed")
    assert not third.queue.newest("evaluate") and "ended twice" in run.record().evaluation_error
    assert run.record().status == "finished"


def test_a_worker_that_ends_politely_in_the_midst_leaves_it_to_the_next(worker, settings, start):
    run = start()
    until(worker, lambda: any(task.job.kind == "evaluate" and task.begun for task in worker.tasks))
    for task in list(worker.tasks):
        worker._leave(task)
    assert note(run) == "due"
    second = Worker(settings)
    second.serve(until=lambda: note(run) == "done")
    assert outcome_of(run, settings).evaluation


@pytest.mark.parametrize("begun", [True, False])
def test_a_cancelled_evaluation_leaves_the_run_finished_and_not_measured(worker, settings, start, begun):
    run = start()
    until(worker, lambda: run.record().status == "finished")
    if begun:
        until(worker, lambda: any(task.job.kind == "evaluate" and task.begun for task in worker.tasks))
    (job,) = worker.queue.newest("evaluate")
    worker.queue.cancel(job.id)
    until(worker, lambda: note(run) == "cancelled")
    assert run.record().status == "finished" and outcome_of(run, settings).word == "not measured"


def test_an_evaluation_that_fails_is_a_sentence_and_no_failed_run(worker, settings, start, monkeypatch):
    run = start()
    until(worker, lambda: run.record().status == "finished")

    def broken(*_, **__):
        raise RunError("The judge is on strike: ask it again.")

    monkeypatch.setattr(runner, "judge_answers", broken)
    until(worker, lambda: note(run) == "failed")
    record = run.record()
    assert record.status == "finished" and record.error == "" and "on strike" in record.evaluation_error


def test_a_run_that_is_deleted_while_it_is_evaluated_leaves_no_answers_behind(worker, settings, start):
    run = start()
    until(worker, lambda: any(task.job.kind == "evaluate" and task.begun for task in worker.tasks))
    delete_run(run)
    until(worker, lambda: not worker.tasks)
    assert not evaluations_folder(run, settings).exists()


def test_a_resumed_run_is_evaluated_anew_at_its_end(worker, settings, start):
    run = start(**{"optimizer.steps": 30})
    until(worker, lambda: run.record().step >= 2)
    worker.queue.control(run.id, "stop")
    until(worker, lambda: note(run) == "done")
    first = run.record().step
    worker.queue.submit("train", run_id=run.id)
    until(worker, lambda: run.record().status == "running")
    assert outcome_of(run, settings).word == "not measured"
    until(worker, lambda: run.record().status == "finished" and note(run) == "done")
    assert {one.run for one in read_evaluations(run, settings)} == {f"{run.id}@{first}", f"{run.id}@30"}
    assert outcome_of(run, settings).step == 30


def test_what_became_of_an_evaluation_without_a_checkpoint_is_noted(worker, settings, start):
    """As measuring asks for it where the last checkpoint was deleted; one of other requests leaves no note."""
    run = start(**{"captures.evaluation_rows": 0})
    until(worker, lambda: run.record().status == "finished")
    plan = own_plan(run.id, None, 2)
    for status, wanted in (("failed", ("failed", "no room")), ("finished", ("done", ""))):
        job = Job(1, "evaluate", run.id, plan.model_dump(mode="json"), 0, status, "")
        note_evaluation(settings.runs, job, status, error="no room")
        assert (note(run), run.record().evaluation_error) == wanted
    other = plan.model_copy(update={"harmful": "strongreject"})
    note_evaluation(settings.runs, job._replace(payload=other.model_dump(mode="json")), "failed", error="no room")
    assert note(run) == "done"


def weights(run: Run) -> dict[str, torch.Tensor]:
    return load_file(run.adapter_folder / "adapter_model.safetensors")


def test_drift_above_the_bound_stops_the_run_keeps_it_and_says_what_to_try(worker, start):
    run = start(**{"optimizer.stop_drift": 1e-9, "optimizer.steps": 9})
    until(worker, lambda: run.record().status == "stopped")
    record, events = run.record(), run.events()[0]
    (alert,) = [event for event in events if isinstance(event, Alert)]
    assert record.step == alert.step == 3 and run.adapter_folder.is_dir() and run.checkpoint_folder(3).is_dir()
    assert "the bound is 1e-09" in alert.message and "lower learning rate" in alert.advice
    (control,) = [event for event in events if isinstance(event, ControlEvent)]
    assert (control.control, control.step) == ("stop", 3)


def test_a_run_that_its_drift_stopped_can_be_resumed_and_ends_as_one_that_was_never_stopped(worker, start):
    bounded = start(**{"optimizer.stop_drift": 1e-9, "captures.evaluation_rows": 0})
    until(worker, lambda: bounded.record().status == "stopped")
    worker.queue.submit("train", run_id=bounded.id)
    until(worker, lambda: bounded.record().status == "finished")
    free = start(**{"captures.evaluation_rows": 0})
    until(worker, lambda: free.record().status == "finished")
    assert all(torch.equal(value, weights(free)[name]) for name, value in weights(bounded).items())


def test_drift_below_the_bound_stops_nothing(worker, start):
    run = start(**{"optimizer.stop_drift": 1e9, "captures.evaluation_rows": 0})
    until(worker, lambda: run.record().status == "finished")
    assert not [event for event in run.events()[0] if isinstance(event, Alert)]


def test_one_that_is_cancelled_while_no_worker_is_there_is_not_made_up_for(worker, settings, start):
    run = start()
    until(worker, lambda: note(run) == "due" and Queue(settings.desk).under_way("evaluate"))
    (job,) = Queue(settings.desk).under_way("evaluate")
    worker._leave(next(task for task in worker.tasks if task.job.id == job.id)) if worker.tasks else None
    assert Queue(settings.desk).job(job.id).status == "queued"
    Queue(settings.desk).cancel(job.id)
    Worker(settings).serve(until=lambda: True)
    assert note(run) == "cancelled" and not Queue(settings.desk).under_way("evaluate")


def test_a_spec_that_cannot_be_read_as_its_run_ends_ends_nothing_else(worker, settings, start):
    run, other = start(), start(seed=1)
    until(worker, lambda: run.record().step >= 2)
    (run.folder / "spec.json").write_text("{")
    until(worker, lambda: other.record().status == "finished")
    assert run.record().status == "finished" and (run.adapter_folder / "adapter_config.json").is_file()
