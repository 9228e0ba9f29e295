"""The real worker process: it survives the app, is killed, is asked twice, meets a full disk, and tears nothing."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from making import wait_for
from safetensors.torch import load_file

from engine.desk.launch import ensure_worker, restart_worker
from engine.desk.lock import LOCK, is_held
from engine.desk.queue import Queue
from engine.heart import Pace
from engine.records.events import ControlEvent, StepResult, effective
from engine.records.runs import Run, create_run
from engine.records.settings import ROOT, Settings
from engine.records.spec import RunSpec

pytestmark = pytest.mark.usefixtures("forked_workers")
LONG = {
    "optimizer.steps": 4000,
    "captures.heldout_every": 4000,
    "captures.probe_every": 4000,
    "captures.checkpoint_every": 10,
}


def status(run: Run) -> str:
    return run.record().status


def steps(run: Run) -> list[StepResult]:
    return [event for event in effective(run.events()[0]) if isinstance(event, StepResult)]


def start(settings: Settings, spec: RunSpec) -> Run:
    run = create_run(settings.runs, spec)
    Queue(settings.desk).submit("train", run_id=run.id)
    return run


@pytest.fixture
def worker(settings: Settings) -> Iterator[Callable[[], int]]:
    """Starts the worker of the test's folder and returns its process number; ends it afterwards."""
    yield lambda: ensure_worker(settings).pid
    state = Queue(settings.desk).worker()
    if state.alive:
        os.kill(state.pid, signal.SIGKILL)
        wait_for(lambda: not Queue(settings.desk).worker().alive, what="the end of the worker")


def weights(run: Run) -> dict:
    return load_file(run.adapter_folder / "adapter_model.safetensors")


def test_a_run_is_trained_from_queue_to_adapter(settings, worker, tiny_spec, forked_workers, monkeypatch):
    monkeypatch.setattr(sys, "executable", forked_workers)
    run = start(settings, tiny_spec())
    worker()
    wait_for(lambda: status(run) == "finished", what="the end of the run")
    record = run.record()
    assert record.step == record.steps == len(steps(run)) == 6
    assert record.trained_parameters > 0 and record.targets == (1,) and record.versions["torch"]
    assert {"heldout_cosine", "heldout_drift"} <= record.figures.keys()
    assert (run.adapter_folder / "adapter_config.json").is_file()
    probes = [event for event in run.events()[0] if event.kind == "probe"]
    assert [probe.step for probe in probes] == [0, 3, 6]
    assert {answer.label for answer in probes[0].answers} == {"harmful", "benign"}


def test_killed_in_the_middle_it_is_interrupted_and_resumes_to_the_same_weights(settings, worker, tiny_spec, tmp_path):
    changes = {
        "optimizer.steps": 120,
        "captures.checkpoint_every": 10,
        "captures.heldout_every": 50,
        "captures.probe_every": 60,
    }
    unbroken = start(settings, tiny_spec(**changes))
    worker()
    wait_for(lambda: status(unbroken) == "finished", what="the unbroken run")
    broken = start(settings, tiny_spec(**changes))
    wait_for(lambda: len(steps(broken)) > 25, what="25 steps")
    os.kill(Queue(settings.desk).worker().pid, signal.SIGKILL)
    wait_for(lambda: not Queue(settings.desk).worker().alive, seconds=10, what="the death of the worker being seen")
    assert broken.record().status == "running"
    worker()
    wait_for(lambda: status(broken) == "interrupted", what="the reconciliation")
    Queue(settings.desk).submit("train", run_id=broken.id)
    wait_for(lambda: status(broken) == "finished", what="the end of the resumed run")
    assert [event.step for event in steps(broken)] == list(range(120))
    assert all(json.loads(line) for line in broken.events_file.read_text().splitlines())
    left, right = weights(unbroken), weights(broken)
    assert left.keys() == right.keys()
    assert all(left[name].equal(right[name]) for name in left)
    losses = [[event.loss for event in steps(run)] for run in (unbroken, broken)]
    assert losses[0] == losses[1]


def test_pause_resume_and_live_changes_take_effect_and_are_recorded(settings, worker, tiny_spec):
    queue = Queue(settings.desk)
    run = start(settings, tiny_spec(**LONG))
    worker()
    wait_for(lambda: len(steps(run)) > 3, what="three steps")
    queue.control(run.id, "pause")
    wait_for(lambda: status(run) == "paused", what="the pause")
    count = len(steps(run))
    time.sleep(0.7)
    assert len(steps(run)) == count
    queue.control(run.id, "alpha", 1.25)
    queue.control(run.id, "learning_rate", 2e-4)
    queue.control(run.id, "resume")
    wait_for(lambda: len(steps(run)) > count + 3, what="going on")
    controls = {event.control: event for event in run.events()[0] if isinstance(event, ControlEvent)}
    changed = steps(run)[controls["alpha"].step]
    assert changed.learning_rate == 2e-4
    assert changed.reroute_weight == pytest.approx(1.25 * (1 - changed.step / 8000))
    assert steps(run)[controls["alpha"].step - 1].reroute_weight > 4
    queue.control(run.id, "stop")
    wait_for(lambda: status(run) == "stopped", what="the stop")
    assert (run.adapter_folder / "adapter_model.safetensors").is_file()
    ended = run.record().ended
    queue.submit("train", run_id=run.id)
    before = run.record().step
    wait_for(lambda: len(steps(run)) > before + 2, what="resuming a stopped run")
    resumed = steps(run)[before + 1]
    assert resumed.learning_rate == 2e-4
    assert ended is not None and 0 < run.record().rested < time.time() - ended and run.record().ended is None
    queue.control(run.id, "cancel")
    wait_for(lambda: status(run) == "stopped", what="the cancellation")
    assert not run.adapter_folder.exists() and not run.checkpoints_folder.exists()
    assert "Cancelled" in run.record().error


def test_an_urgent_job_is_done_while_a_run_trains(settings, worker, tiny_spec):
    run = start(settings, tiny_spec(**LONG))
    worker()
    wait_for(lambda: len(steps(run)) > 3, what="three steps")
    job = Queue(settings.desk).submit("describe_model", payload=tiny_spec().model.model_dump(mode="json"))
    wait_for(lambda: (Queue(settings.desk).job(job) or [None] * 6)[5] == "done", seconds=20, what="the card")
    assert status(run) == "running"


def test_a_polite_end_leaves_a_run_that_resumes_where_it_was(settings, worker, tiny_spec):
    run = start(settings, tiny_spec(**LONG))
    first = worker()
    wait_for(lambda: len(steps(run)) > 3, what="three steps")
    second = restart_worker(settings).pid
    assert second != first
    assert status(run) == "interrupted"
    reached = run.record().step
    assert (run.checkpoints_folder / f"step-{reached:06d}").is_dir()


@pytest.mark.parametrize("sharded", [False, True])
def test_a_worker_of_two_processes_is_restarted_as_one_of_two(settings, worker, sharded):
    queue = Queue(settings.desk)
    ensure_worker(settings, options=["--processes", "2", *(["--sharded"] * sharded)])
    wait_for(lambda: queue.worker().machine, what="the worker")
    first = queue.worker()
    second = restart_worker(settings).pid
    wait_for(lambda: queue.worker().machine, what="the next worker")
    assert second != first.pid
    for state in (first, queue.worker()):
        assert (state.machine["processes"], state.machine["shares"]) == (2, 2 if sharded else 1)


def test_one_worker_a_folder(settings, worker):
    worker()
    wait_for(lambda: Queue(settings.desk).worker().status == "idle", what="the worker")
    second = subprocess.run(
        [sys.executable, "-m", "engine", "worker", "--runs", str(settings.runs)],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert second.returncode == 2
    assert "Another worker" in second.stderr and "Traceback" not in second.stderr


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model.name": "/nowhere/model"}, "does not exist"),
        ({"blocks.targets": "7"}, "Block 7 does not exist: choose 0 to 1"),
        ({"data.categories": ["nothing"]}, "No harmful prompt is left"),
        ({"data.circuit_breaker": "/nowhere.jsonl"}, "does not exist"),
        ({"model.dtype": "float16", "adapter.noise": 1.0, "adapter.alpha": 1e6}, "not finite"),
    ],
    ids=["model", "block", "filter", "file", "non-finite"],
)  # fmt: skip
def test_a_wrong_run_fails_with_a_message_and_the_worker_lives(settings, worker, tiny_spec, changes, words):
    run = start(settings, tiny_spec(**changes))
    worker()
    wait_for(lambda: status(run) == "failed", what="the failure")
    assert words in run.record().error
    assert "Traceback" not in run.record().error
    assert Queue(settings.desk).worker().alive


def test_a_worker_whose_folder_was_deleted_stays_the_only_one(settings, worker, tiny_spec):
    run = start(settings, tiny_spec(**LONG))
    worker()
    wait_for(lambda: len(steps(run)) > 2)
    pid = Queue(settings.desk).worker().pid
    # The worker writes there while it is taken away.
    shutil.rmtree(settings.desk, ignore_errors=True)
    (settings.desk / LOCK).unlink(missing_ok=True)
    wait_for(lambda: is_held(settings.desk))
    assert ensure_worker(settings).pid == pid and status(run) == "running"
    before = len(steps(run))
    wait_for(lambda: len(steps(run)) > before)


def test_a_lost_queue_loses_no_run(settings, worker, tiny_spec):
    run = create_run(settings.runs, tiny_spec())
    worker()
    wait_for(lambda: status(run) == "finished", what="the run that no job names")


def test_a_full_disk_fails_the_run_with_a_message_and_tears_nothing(tmp_path, monkeypatch, tiny_spec):
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("a small tmpfs can only be mounted by root")
    try:
        monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
        settings = Settings(runs=folder, cache=tmp_path / "cache")
        filler = folder / "filler"
        filler.touch()
        run = start(settings, tiny_spec(**(LONG | {"captures.checkpoint_every": 1000})))
        ensure_worker(settings)
        wait_for(lambda: len(steps(run)) > 3, what="three steps")
        with suppress(OSError), filler.open("ab", buffering=0) as file:
            while file.write(b"0" * 256):
                pass
        time.sleep(2.5)
        os.truncate(filler, 0)
        wait_for(lambda: status(run) == "failed", what="the failure being written once there is room")
        assert "disk is full" in run.record().error
        assert all(json.loads(line) for line in run.events_file.read_text().splitlines())
        wait_for(lambda: Queue(settings.desk).worker().alive, what="the worker being alive")
        Queue(settings.desk).submit("train", run_id=run.id)
        wait_for(lambda: status(run) == "running", what="the resume")
    finally:
        state = Queue(folder / ".workbench").worker()
        if state.pid:
            os.kill(state.pid, signal.SIGKILL)
            time.sleep(0.3)
        subprocess.run(["umount", "-l", str(folder)], check=False)


def test_nothing_of_an_answer_is_in_the_worker_log(settings, worker, tiny_spec):
    run = start(settings, tiny_spec())
    worker()
    wait_for(lambda: status(run) == "finished", what="the run")
    text = settings.worker_log.read_text()
    answers = [answer.answer for event in run.events()[0] if event.kind == "probe" for answer in event.answers]
    assert answers and not any(answer and answer in text for answer in answers)
    assert not any(f"harmful answer {number}" in text for number in range(12))


def test_a_log_is_kept(settings, worker):
    worker()
    wait_for(lambda: settings.worker_log.is_file() and "serves" in settings.worker_log.read_text(), what="the log")
    assert isinstance(settings.worker_log, Path)


def test_a_slow_look_is_made_seldom_and_never_for_longer_than_who_asks_can_wait(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("engine.heart.time.monotonic", lambda: now[0])
    pace = Pace()

    def takes(seconds: float) -> float:
        assert pace.is_due
        with pace:
            now[0] += seconds
        before = now[0]
        while not pace.is_due:
            now[0] += 0.01
        return now[0] - before

    assert takes(0.001) == 0
    assert takes(0.05) == pytest.approx(5 * 0.05, abs=0.02)
    assert takes(10.0) == pytest.approx(2.0, abs=0.02)
