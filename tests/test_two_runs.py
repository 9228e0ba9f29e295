"""Two runs and more under one worker: one trains at a time, the others wait and are told for what; nothing is lost."""

import pytest
import torch
from making import until
from safetensors.torch import load_file

from engine.compute.training.checkpoints import list_checkpoints
from engine.desk.lock import owned
from engine.desk.queue import OLDER, PRIORITY, Queue
from engine.records.captures.capture import CaptureRequest
from engine.records.errors import RunError
from engine.records.events import StepResult, effective
from engine.records.runs import Run, create_run, delete_run
from engine.worker import JOBS, Worker


@pytest.fixture
def worker(settings):
    return Worker(settings)


@pytest.fixture
def start(worker, settings, tiny_spec):
    def started(name: str, **changes) -> Run:
        run = create_run(settings.runs, tiny_spec(**changes), name=name)
        worker.queue.submit("train", run_id=run.id)
        return run

    return started


def status(run: Run) -> str:
    return run.record().status


def step(run: Run) -> int:
    return max((event.step + 1 for event in effective(run.events()[0]) if isinstance(event, StepResult)), default=0)


def weights(run: Run) -> dict[str, torch.Tensor]:
    return load_file(run.adapter_folder / "adapter_model.safetensors")


def same(left: Run, right: Run) -> bool:
    return all(torch.equal(value, weights(right)[name]) for name, value in weights(left).items())


def test_a_shorter_run_beside_a_longer_one_waits_for_it_and_both_finish(worker, start):
    longer, shorter = start("long", **{"optimizer.steps": 12}), start("short", **{"optimizer.steps": 3})
    until(worker, lambda: step(longer) >= 2)
    assert (status(longer), status(shorter), step(shorter)) == ("running", "queued", 0)
    assert worker._about()["waiting"] == {shorter.id: longer.id}
    until(worker, lambda: status(shorter) == "finished")
    assert status(longer) == "finished" and step(longer) == 12
    assert worker._about()["waiting"] == {} and worker._about()["trains"] == ""


def test_while_one_is_paused_the_next_trains_to_its_end_and_the_first_goes_on_as_if_nothing_had_been(worker, start):
    alone = start("alone", **{"optimizer.steps": 12})
    until(worker, lambda: status(alone) == "finished")
    first, second = start("a", **{"optimizer.steps": 12}), start("b", **{"optimizer.steps": 12, "seed": 1})
    until(worker, lambda: step(first) == 5)
    assert worker._about()["trains"] == first.id
    worker.queue.control(first.id, "pause")
    until(worker, lambda: status(first) == "paused")
    until(worker, lambda: step(second) >= 2)
    # A new one would wait for this one, whatever is advanced at the moment.
    assert status(first) == "paused" and worker._about()["trains"] == second.id
    # Asked to go on while the other trains, it waits for it.
    worker.queue.control(first.id, "resume")
    until(worker, lambda: step(second) >= 4)
    assert status(first) == "queued" and worker._about()["waiting"] == {first.id: second.id}
    until(worker, lambda: status(first) == "finished")
    assert status(second) == "finished" and same(first, alone)
    assert [event.step for event in effective(first.events()[0]) if isinstance(event, StepResult)] == list(range(12))


def test_a_run_that_waits_can_be_put_first_and_the_other_goes_on_afterwards(worker, start):
    alone = start("alone", **{"optimizer.steps": 8})
    until(worker, lambda: status(alone) == "finished")
    first, second = start("a", **{"optimizer.steps": 8}), start("b", **{"optimizer.steps": 4, "seed": 1})
    until(worker, lambda: step(first) == 3)
    worker.queue.control(second.id, "first")
    until(worker, lambda: step(second) >= 1)
    assert status(first) == "queued" and list_checkpoints(first.checkpoints_folder)[-1].name == "step-000003"
    until(worker, lambda: status(second) == "finished")
    until(worker, lambda: status(first) == "finished")
    assert same(first, alone)


def test_a_run_that_gave_way_can_be_stopped_and_kept_or_thrown_away(worker, start):
    kept, gone = start("kept", **{"optimizer.steps": 30}), start("gone", **{"optimizer.steps": 30})
    until(worker, lambda: step(kept) == 3)
    worker.queue.control(gone.id, "first")
    until(worker, lambda: step(gone) == 3)
    # What is asked of the worker it hears at its own pace, up to some steps later.
    reached = step(kept)
    worker.queue.control(kept.id, "stop")
    worker.queue.control(gone.id, "pause")
    until(worker, lambda: status(kept) == "stopped" and status(gone) == "paused")
    assert 3 <= reached < 30 and kept.record().step == step(kept) == reached
    assert (kept.adapter_folder / "adapter_config.json").is_file()
    third = start("third", **{"optimizer.steps": 2})
    until(worker, lambda: status(third) == "finished")
    worker.queue.control(gone.id, "cancel")
    until(worker, lambda: status(gone) == "stopped")
    assert not gone.checkpoints_folder.exists() and not gone.adapter_folder.exists() and gone.record().step == 0


def test_a_job_for_another_model_is_told_who_holds_this_one_and_gets_it_when_that_run_is_paused(worker, start):
    run = start("paused", **{"optimizer.steps": 60})
    until(worker, lambda: step(run) == 2)
    spec = run.spec()
    other = spec.model.model_copy(update={"dtype": "bfloat16"})
    request = CaptureRequest(model=other, data=spec.data, prompts_per_side=2, splits=("test",))
    job = worker.queue.submit("capture", payload=request.model_dump(mode="json"))

    def said() -> str:
        progress = worker.queue.progress(job)
        return progress.message if progress else ""

    until(worker, lambda: "holds" in said())
    assert f"the training of run {run.id}" in said() and other.name in said()
    worker.queue.control(run.id, "pause")
    until(worker, lambda: (found := worker.queue.job(job)) is not None and found.status == "done")
    assert status(run) == "paused"
    assert worker.device.model is not None and worker.device.model.spec == other
    worker.queue.control(run.id, "resume")
    until(worker, lambda: status(run) == "finished")
    assert step(run) == 60


def test_a_worker_that_ends_leaves_a_run_that_gave_way_to_the_next_worker(settings, start, worker):
    first, second = start("a", **{"optimizer.steps": 6}), start("b", **{"optimizer.steps": 6})
    until(worker, lambda: step(first) == 2)
    worker.queue.control(second.id, "first")
    until(worker, lambda: step(second) == 1)
    worker.ending.set()
    with owned(settings):
        worker.serve()
        assert (status(first), status(second)) == ("queued", "interrupted")
        following = Worker(settings)
        following.serve(until=lambda: status(first) == "finished")


def test_a_failure_behind_the_last_step_says_that_training_is_complete_and_resume_saves_it(worker, start, monkeypatch):
    def refuse(*_):
        raise KeyError("run-of-another-name")

    run = start("whole")
    monkeypatch.setattr("engine.jobs.training.save_adapter", refuse)
    until(worker, lambda: status(run) == "failed")
    assert "Training is complete" in run.record().error and "Resume saves it" in run.record().error
    monkeypatch.undo()
    worker.queue.submit("train", run_id=run.id)
    until(worker, lambda: status(run) == "finished")
    assert step(run) == 6 and weights(run)


def test_a_stop_that_meets_a_full_disk_is_carried_out_when_there_is_room(worker, start, monkeypatch):
    run = start("full", **{"optimizer.steps": 400, "captures.checkpoint_every": 400})
    until(worker, lambda: step(run) == 2)
    worker.queue.control(run.id, "stop")
    append = Run.append

    def full(self, event):
        if event.kind == "control":
            raise RunError("The disk is full.")
        append(self, event)

    monkeypatch.setattr(Run, "append", full)
    for _ in range(5):
        worker.turn()
    assert status(run) == "running"
    monkeypatch.setattr(Run, "append", append)
    until(worker, lambda: status(run) == "stopped")
    assert worker.queue.controls() == []


def test_a_control_is_not_carried_out_twice_when_it_cannot_be_forgotten(worker, start, monkeypatch):
    run = start("pause", **{"optimizer.steps": 50})
    until(worker, lambda: step(run) == 1)
    worker.queue.control(run.id, "pause")
    forget = Queue.carried_out

    def refuse(self, request):
        raise RunError("The disk is full.")

    monkeypatch.setattr(Queue, "carried_out", refuse)
    for _ in range(3):
        worker.turn()
    monkeypatch.setattr(Queue, "carried_out", forget)
    worker.turn()
    assert [event.control for event in run.controls()] == ["pause"] and worker.queue.controls() == []


def test_a_device_that_failed_ends_the_worker_with_its_records_written(settings, worker, start, monkeypatch):
    def broken(_payload, _tools):
        yield None
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setitem(JOBS, "describe_data", broken)
    run = start("on the device", **{"optimizer.steps": 4000})
    job = worker.queue.submit("describe_data", payload={})
    with owned(settings):
        worker.serve()
    ended = worker.queue.job(job)
    assert ended is not None and ended.status == "failed" and "The device failed" in ended.error
    assert status(run) in ("interrupted", "queued")
    said = worker.queue.worker()
    assert said.status == "dead" and "illegal memory access" in said.reason and "restart" in said.reason.lower()


def test_how_a_step_is_cut_is_noted_and_kept_when_the_run_goes_on_elsewhere(worker, start):
    """A slow machine cuts a step into more parts; resumed on a faster one the run keeps its cut, and its weights. On
    another kind of device neither can be the same, and it is cut anew."""
    many = {"optimizer.steps": 6, "optimizer.circuit_breaker_batch": 6, "optimizer.retain_batch": 6}
    worker.device.machine = {"flops_per_second": 1e4}
    alone = start("alone", **many)
    until(worker, lambda: status(alone) == "finished")
    noted = alone.record().micro_batch_tokens
    assert 0 < noted < alone.spec().optimizer.tokens_per_micro_batch
    broken, moved = start("broken", **many), start("moved", **many)
    for run in (broken, moved):
        until(worker, lambda run=run: step(run) == 3)
        worker.queue.control(run.id, "stop")
        until(worker, lambda run=run: status(run) == "stopped")
    moved.update(device="cuda:0 float32")
    worker.device.machine = {"flops_per_second": 1e15}
    for run in (broken, moved):
        worker.queue.submit("train", run_id=run.id)
        until(worker, lambda run=run: status(run) == "finished")
    assert broken.record().micro_batch_tokens == noted and same(broken, alone)
    assert moved.record().micro_batch_tokens == moved.spec().optimizer.tokens_per_micro_batch
    fast = start("fast", **many)
    until(worker, lambda: status(fast) == "finished")
    assert fast.record().micro_batch_tokens == fast.spec().optimizer.tokens_per_micro_batch


def test_a_waiting_run_that_was_deleted_keeps_no_control_from_another_run(worker, start):
    first, second = start("a", **{"optimizer.steps": 60}), start("b")
    until(worker, lambda: step(first) == 1)
    worker.queue.control(second.id, "cancel")
    delete_run(second)
    worker.queue.control(first.id, "pause")
    until(worker, lambda: status(first) == "paused", turns=20)
    assert worker.queue.controls() == [] and [task.book.run for task in worker.tasks] == [first]
    worker.turn()
    assert worker.unsaved == []
    assert not second.folder.exists()


def test_a_job_of_a_kind_that_the_worker_does_not_know_trains_no_run(worker, start, monkeypatch):
    monkeypatch.setitem(PRIORITY, "levitate", 10)
    run = start("a")
    worker.queue.claim()
    run.update(status="stopped")
    job = worker.queue.submit("levitate", run_id=run.id)
    worker.turn()
    assert worker.tasks == [] and worker.queue.job(job).error == OLDER and status(run) == "stopped"


def test_a_full_disk_at_a_resume_loses_no_other_job_of_the_same_turn(worker, start, monkeypatch):
    first, second = start("a"), start("b")
    first.update(status="interrupted")
    update, full = Run.update, [True]

    def refused(self: Run, **changes):
        if full and changes.get("status") == "queued":
            raise RunError("The disk is full")
        return update(self, **changes)

    monkeypatch.setattr(Run, "update", refused)
    for job in worker.queue.claim():
        worker._accept(job)
    assert [task.book.run for task in worker.tasks] == [first, second] and status(first) == "interrupted"
    full.clear()
    worker._save_unsaved()
    assert status(first) == "queued"
    until(worker, lambda: status(first) == status(second) == "finished")


def test_a_new_worker_takes_waiting_runs_in_their_order_and_obeys_no_control_of_the_old_one(settings, start, worker):
    """The first was trained by a worker that did not answer any more, and was told to stop; the others wait, and one is
    told to be cancelled."""
    runs = [start(name) for name in "abcd"]
    runs[0].update(status="running")
    worker.queue.claim()
    worker.queue.control(runs[0].id, "stop")
    worker.queue.control(runs[2].id, "cancel")
    with owned(settings):
        worker.serve(until=lambda: True)
    assert status(runs[0]) == "interrupted"
    assert [request.run_id for request in worker.queue.controls()] == [runs[2].id]
    assert [job.run_id for job in worker.queue.claim()] == [run.id for run in runs[1:]]
