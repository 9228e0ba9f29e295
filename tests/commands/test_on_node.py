"""What a job does before it trains: whose run it is, and with which versions it may go on."""

import json
import signal
import sys
from collections.abc import Callable
from contextlib import nullcontext
from functools import partialmethod

import pytest

from engine.__main__ import main
from engine.commands import node
from engine.commands.node import SPANS_WITHOUT_A_STEP
from engine.desk.lock import owned
from engine.desk.on_node import GO, PAUSED, TIME_IS_UP
from engine.desk.queue import Queue
from engine.desk.sending import SENT
from engine.records.cluster_jobs import ClusterJob, settings_of, write_job
from engine.records.clusters import Resources
from engine.records.errors import ClusterError, RunError
from engine.records.events import Alert, StatusEvent, StepResult
from engine.records.installed import versions
from engine.records.notices import notices_file
from engine.records.runs import create_run
from engine.worker import Worker

ASKED = Resources(partition="gpu")


@pytest.fixture
def run(settings, tiny_spec, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.delenv("SLURM_ARRAY_JOB_ID", raising=False)
    return create_run(settings.runs, tiny_spec())


def note(run, **changes) -> ClusterJob:
    job = ClusterJob(cluster="here", asked=ASKED, job="12", versions=versions()).model_copy(update=changes)
    write_job(run, job)
    return job


def test_a_job_leaves_a_run_alone_that_is_another_job_s(run, settings, capsys):
    note(run, job="13")
    assert main(["on-node", run.id, "--runs", str(settings.runs)]) == 2
    assert f"Run {run.id} is that of job 13, and this is 12: nothing is done." in capsys.readouterr().err
    assert run.record().status == "queued"


def test_a_run_that_was_never_sent_is_not_taken(run, settings, monkeypatch):
    monkeypatch.setattr(node, "NUMBER_SECONDS", 0.1)
    with pytest.raises(RunError, match="No job has been noted"):
        node._own_job(run)


def test_a_new_run_says_once_which_versions_differ_and_trains(run, settings, monkeypatch):
    heard = []
    monkeypatch.setattr(node, "telling", lambda _: nullcontext(lambda run_id, event: heard.append((run_id, event))))
    job = note(run, versions=versions() | {"torch": "1.0"})
    assert node._may_begin(run, job, settings) and node._may_begin(run, job, settings)
    (alert,) = [event for event in run.events()[0] if isinstance(event, Alert)]
    assert "in place of 1.0" in alert.message and "install the same versions" in alert.advice
    assert [(run_id, event.message) for run_id, event in heard] == [(run.id, alert.message)], "told, and once"


def test_another_torch_does_not_go_on_with_a_run_unless_the_cluster_is_told_so(run, settings):
    run.update(step=3, versions=versions() | {"torch": "1.0"})
    assert not node._may_begin(run, note(run), settings)
    record = run.record()
    assert record.status == "failed" and "in place of 1.0" in record.error and "other_versions = true" in record.error
    run.update(status="interrupted")
    assert node._may_begin(run, note(run, other_versions=True), settings)


def test_a_run_that_its_user_stopped_is_not_begun_again(run, settings):
    for status, begins in (("stopped", False), ("failed", False), ("finished", False), ("interrupted", True)):
        run.update(status=status)
        assert node._may_begin(run, note(run), settings) is begins
    run.update(status="finished")
    assert node._may_begin(run, note(run, evaluations=({"attacks": []},)), settings)


@pytest.mark.parametrize("status", ["finished", "stopped"])
def test_a_small_evaluation_that_the_job_before_did_not_end_is_gone_on_with(run, settings, monkeypatch, capsys, status):
    run.update(status=status, step=3, evaluation="due")
    assert node._may_begin(run, note(run), settings)
    monkeypatch.setattr(node, "queue_again", lambda _: None)
    for _ in range(SPANS_WITHOUT_A_STEP):
        assert node._again(run, note(run), settings) == 0
    assert node._again(run, note(run), settings) == 1 and run.record().status == status
    assert "Its evaluations did not end in 6 spans of 8 hours" in capsys.readouterr().err


def test_what_the_job_before_had_claimed_on_a_node_that_died_is_asked_for_anew(run, settings, monkeypatch):
    """The lock is this process's own by then, so that nothing else tells that the other one is gone."""
    job, own = note(run), settings_of(run, settings)
    queue = Queue(own.desk)
    queue.submit("train", run_id=run.id)
    [claimed] = queue.claim()
    run.update(status="running", step=3)
    before = {kind: signal.getsignal(kind) for kind in (TIME_IS_UP, GO)}
    seen = []
    monkeypatch.setattr(Worker, "serve", lambda worker, until: seen.extend(worker.queue.claim()))
    try:
        with owned(own):
            node._serve(run, job, own, [])
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
    assert [one.run_id for one in seen] == [run.id] and seen[0].id != claimed.id


def test_a_job_that_takes_no_step_is_not_queued_again_for_ever(run, monkeypatch, settings):
    asked = []
    monkeypatch.setattr(node, "queue_again", asked.append)
    job = note(run)
    for _ in range(SPANS_WITHOUT_A_STEP):
        assert node._again(run, job, settings) == 0
    assert node._again(run, job, settings) == 1
    assert asked == ["12"] * SPANS_WITHOUT_A_STEP
    assert run.record().status == "interrupted" and "took no training step in 6 spans of 8 hours" in run.record().error


def test_where_slurm_cannot_queue_it_again_the_run_says_so_and_can_be_resumed(run, monkeypatch, settings):
    def refuse(_job: str) -> None:
        raise ClusterError("scontrol is not installed here.")

    monkeypatch.setattr(node, "queue_again", refuse)
    out = settings.runs.parent / "told.json"
    script = f"import sys, pathlib; pathlib.Path({str(out)!r}).write_text(sys.stdin.read())"
    notices_file(settings).write_text(f"[bell]\ncommand = {json.dumps([sys.executable, '-c', script])}\n")
    assert node._again(run, note(run), settings) == 1
    assert run.record().status == "interrupted" and "scontrol is not installed here. Resume it." in run.record().error
    assert json.loads(out.read_text())["status"] == "interrupted"


def test_evaluations_that_came_with_a_job_are_gone_on_with_where_its_time_was_up_amid_them(run, settings, monkeypatch):
    note(run, evaluations=({"state": run.id},))
    run.update(status="finished")
    again: list[str] = []
    monkeypatch.setattr(node, "queue_again", again.append)
    before = {kind: signal.getsignal(kind) for kind in (TIME_IS_UP, GO)}

    def served(worker: Worker, *, until: Callable[[], bool], ends: bool) -> None:
        assert not until()
        for job in worker.queue.newest("evaluate") if ends else ():
            worker.queue.finish(job.id)
        signal.raise_signal(TIME_IS_UP)
        assert until()

    try:
        for ends in (False, True):
            monkeypatch.setattr(Worker, "serve", partialmethod(served, ends=ends))
            assert main(["on-node", run.id, "--runs", str(settings.runs)]) == 0
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
    assert again == ["12"]
    for _ in range(SPANS_WITHOUT_A_STEP):
        node._again(run, note(run), settings)
    assert node._again(run, note(run), settings) == 1 and run.record().status == "finished"


def test_evaluations_are_gone_on_with_where_the_time_is_up_as_the_training_ends(run, settings, monkeypatch):
    note(run, evaluations=({"state": run.id},))
    again: list[str] = []
    monkeypatch.setattr(node, "queue_again", again.append)
    before = {kind: signal.getsignal(kind) for kind in (TIME_IS_UP, GO)}

    def served(worker: Worker, *, until: Callable[[], bool]) -> None:
        run.update(status="finished")
        signal.raise_signal(TIME_IS_UP)
        assert until() and worker.queue.newest("evaluate") == []

    monkeypatch.setattr(Worker, "serve", served)
    try:
        assert main(["on-node", run.id, "--runs", str(settings.runs)]) == 0
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
    assert again == ["12"]


def test_a_run_that_is_resumed_with_more_hours_has_its_spans_anew(run, settings, monkeypatch):
    asked = []
    monkeypatch.setattr(node, "queue_again", asked.append)
    job = note(run)
    for _ in range(SPANS_WITHOUT_A_STEP):
        node._again(run, job, settings)
    assert node._again(run, job, settings) == 1
    run.append(StatusEvent(status="queued", step=0, message=SENT))
    run.update(status="queued")
    for _ in range(SPANS_WITHOUT_A_STEP):
        assert node._again(run, job, settings) == 0
    assert node._again(run, job, settings) == 1


@pytest.mark.parametrize("steps", [0, 2])
def test_a_run_that_is_paused_when_its_job_leaves_the_node_waits_for_its_user(run, settings, steps):
    """Paused before its first step or behind some; begun again by Slurm the job leaves it alone, sent anew it
    goes on."""
    job, own = note(run), settings_of(run, settings)
    queue = Queue(own.desk)
    queue.submit("train", run_id=run.id)

    def paused() -> bool:
        if sum(isinstance(event, StepResult) for event in run.events()[0]) >= steps and not asked:
            asked.append(True)
            queue.control(run.id, "pause")
        return run.record().status == "paused"

    asked: list[bool] = []
    with owned(own):
        Worker(own).serve(until=paused)
    record = run.record()
    assert (record.status, record.error) == ("interrupted", PAUSED) and record.step >= steps
    assert not node._may_begin(run, job, settings)
    run.update(status="queued", error="")
    assert node._may_begin(run, job, settings)


def test_a_run_that_was_paused_when_its_node_died_is_not_trained_on_unasked(run, settings):
    run.update(status="paused", step=3)
    assert not node._may_begin(run, note(run), settings)
    assert (run.record().status, run.record().error) == ("interrupted", PAUSED)
