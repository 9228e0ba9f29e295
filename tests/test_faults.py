"""Faults on purpose: workers killed at random moments, damaged files, folders that refuse, clocks that jump."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from forking import Forked, engine, forked, interpreter
from making import wait_for
from safetensors.torch import load_file

import engine.worker as worker_module
from engine import heart
from engine.compute.training.checkpoints import list_checkpoints
from engine.desk.launch import ensure_worker
from engine.desk.lock import owned
from engine.desk.queue import Queue
from engine.heart import Pace
from engine.records.errors import RunError, WorkbenchError
from engine.records.events import Progress, StepResult, effective
from engine.records.runs import Run, create_run, list_runs
from engine.records.settings import ROOT, Settings
from engine.worker import Worker

KILLS = 50


def weights(run: Run) -> dict[str, torch.Tensor]:
    return load_file(run.adapter_folder / "adapter_model.safetensors")


def losses(run: Run) -> list[tuple[int, float]]:
    return [(event.step, event.loss) for event in effective(run.events()[0]) if isinstance(event, StepResult)]


def torn(run: Run) -> list[Path]:
    """Files of the run that cannot be read whole; the last line of the events may be unfinished after a kill."""
    found = []
    for file in run.folder.rglob("*"):
        try:
            if file.suffix == ".json" and not file.name.startswith("."):
                json.loads(file.read_text())
            elif file.suffix == ".jsonl":
                for line in file.read_text().split("\n")[:-1]:
                    json.loads(line)
            elif file.suffix == ".safetensors" and not file.parent.name.startswith("."):
                load_file(file)
        except Exception:
            found.append(file)
    return found


@pytest.fixture
def fork_worker(settings: Settings) -> Iterator[Callable[[], int]]:
    """Starts a worker of the test's folder within a fraction of a second and returns its process number."""
    started: list[Forked] = []

    def start() -> int:
        started.append(forked("worker", "--runs", str(settings.runs)))
        return started[-1].pid

    yield start
    for process in started:
        kill(process.pid)


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), what="the end of the process")


@pytest.mark.timeout(900)
def test_killed_fifty_times_at_random_moments_a_run_ends_with_the_same_weights(settings, fork_worker, tiny_spec):
    """Moments are drawn from a seed: some hit a step, some a checkpoint, a measurement, the loading, the very end."""
    changes = {
        "optimizer.steps": 240,
        "captures.checkpoint_every": 3,
        "captures.heldout_every": 24,
        "captures.probe_every": 48,
        "captures.capture_every": 24,
        "captures.capture_prompts": 2,
    }
    moments = random.Random(0)
    queue = Queue(settings.desk)
    unbroken = create_run(settings.runs, tiny_spec(**changes))
    queue.submit("train", run_id=unbroken.id)
    pid = fork_worker()
    wait_for(lambda: unbroken.record().status == "finished", seconds=180, what="the unbroken run")
    kill(pid)

    broken = create_run(settings.runs, tiny_spec(**changes))
    queue.submit("train", run_id=broken.id)
    reached = []
    for number in range(KILLS):
        pid = fork_worker()
        if broken.record().status != "queued":
            wait_for(lambda: broken.record().status == "interrupted", what="the reconciliation")
            queue.submit("train", run_id=broken.id)
        # So many steps further at most; then somewhere within what comes next.
        goal = max((step for step, _ in losses(broken)), default=0) + moments.randrange(1, 5)
        wait_for(
            lambda goal=goal: (
                any(step >= goal for step, _ in losses(broken)[-3:]) or broken.record().status == "finished"
            ),
            what=f"step {goal}",
        )
        time.sleep(moments.random() * 0.03)
        kill(pid)
        assert broken.record().status in ("running", "finished"), number
        assert torn(broken) == [], number
        reached.append(goal)
    assert len(set(reached)) > 20, "the kills must come at different steps"
    fork_worker()
    if broken.record().status != "finished":
        wait_for(lambda: broken.record().status == "interrupted", what="the last reconciliation")
        queue.submit("train", run_id=broken.id)
    wait_for(lambda: broken.record().status == "finished", seconds=180, what="the end of the broken run")

    assert losses(broken) == losses(unbroken)
    assert [step for step, _ in losses(broken)] == list(range(240))
    left, right = weights(unbroken), weights(broken)
    assert left.keys() == right.keys() and all(left[name].equal(right[name]) for name in left)
    assert torn(broken) == []


def damaged(file: Path, how: str) -> None:
    data = file.read_bytes()
    file.write_bytes({"cut": data[: len(data) // 2], "empty": b"", "noise": os.urandom(len(data) or 8)}[how])


@pytest.mark.parametrize("how", ["cut", "empty", "noise"])
@pytest.mark.parametrize("name", ["record.json", "spec.json", "events.jsonl", "label.json"])
def test_a_damaged_file_of_one_run_leaves_the_others_readable(settings, tiny_spec, name, how):
    whole, broken = (create_run(settings.runs, tiny_spec(), name=name) for name in ("whole", "broken"))
    damaged(broken.folder / name, how)
    assert {run.id for run in list_runs(settings.runs)} >= {whole.id, broken.id}
    reads = {"record.json": broken.record, "spec.json": broken.spec}
    for file, read in reads.items():
        if file == name:
            with pytest.raises(WorkbenchError, match=f"{broken.id} has no readable"):
                read()
        else:
            read()
    # A lost name or torn events cost no more than themselves.
    assert broken.label().name == ("" if name == "label.json" else "broken")
    assert broken.events()[0] == [] and broken.controls() == []
    assert whole.record().status == "queued" and whole.spec() == tiny_spec()


@pytest.mark.parametrize("how", ["cut", "empty", "noise"])
@pytest.mark.parametrize("name", ["adapter.safetensors", "optimizer.safetensors", "position.json"])
def test_a_damaged_checkpoint_fails_the_resume_with_a_message_and_the_worker_lives(settings, tiny_spec, name, how):
    worker = Worker(settings)
    rarely = {"captures.heldout_every": 5, "captures.probe_every": 5, "captures.capture_every": 0}
    run = create_run(settings.runs, tiny_spec(**rarely, **{"optimizer.steps": 5}))
    worker.queue.submit("train", run_id=run.id)
    while len(list_checkpoints(run.checkpoints_folder)) < 2:
        worker.turn()
    worker.queue.control(run.id, "stop")
    # A look that was slow, on a busy disk, puts the next one off.
    worker.pace = Pace()
    worker.turn()
    assert run.record().status == "stopped"
    damaged(list_checkpoints(run.checkpoints_folder)[-1] / name, how)
    worker.queue.submit("train", run_id=run.id)
    while worker.turn():
        pass
    record = run.record()
    other = create_run(settings.runs, run.spec())
    worker.queue.submit("train", run_id=other.id)
    while worker.turn():
        pass
    assert other.record().status == "finished"
    if record.status == "finished":
        # A position that cannot be read makes an older checkpoint the last one, if that still has all its files.
        assert name == "position.json"
        assert all(weights(run)[key].equal(value) for key, value in weights(other).items())
    else:
        assert record.status == "failed" and "checkpoint" in record.error and "Traceback" not in record.error


def test_a_damaged_adapter_fails_what_needs_it_with_a_message(settings, tiny_spec):
    worker = Worker(settings)
    run = create_run(settings.runs, tiny_spec())
    worker.queue.submit("train", run_id=run.id)
    while worker.turn():
        pass
    damaged(run.adapter_folder / "adapter_model.safetensors", "cut")
    job = worker.queue.submit("evaluate", run_id=run.id, payload={"state": run.id, "attacks": [{"name": "direct"}]})
    while worker.turn():
        pass
    ended = worker.queue.job(job)
    assert ended is not None and ended.status == "failed"
    assert "adapter" in ended.error and "Something unexpected" not in ended.error


@pytest.fixture
def read_only_folder(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "frozen"
    folder.mkdir()
    mounts = [["mount", "-t", "tmpfs", "none", str(folder)], ["mount", "-o", "remount,ro", str(folder)]]
    if any(subprocess.run(command, capture_output=True).returncode for command in mounts):
        pytest.skip("a read-only tmpfs can only be mounted by root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


def test_a_read_only_runs_folder_is_named(read_only_folder, tiny_spec):
    with pytest.raises(RunError, match="cannot be written"):
        create_run(read_only_folder, tiny_spec())
    with pytest.raises(RunError, match="cannot be"):
        ensure_worker(Settings(runs=read_only_folder, cache=read_only_folder))
    worker = engine("worker", "--runs", str(read_only_folder))
    assert worker.returncode == 2
    assert str(read_only_folder) in worker.stderr and "Traceback" not in worker.stderr


def test_a_jump_of_the_clock_ends_no_worker_and_fails_no_job(settings, fork_worker):
    """A beat an hour old says nothing of whether the worker lives: its lock does. What it does is not taken from it."""
    first = fork_worker()
    queue = Queue(settings.desk)
    wait_for(lambda: queue.worker().status == "idle", what="the first worker")
    job = queue.submit("train", run_id="none-of-that-name")
    os.kill(first, signal.SIGSTOP)
    try:
        beat_file = settings.desk / "worker.json"
        content = json.loads(beat_file.read_text())
        beat_file.write_text(json.dumps(content | {"beat": content["beat"] - 3600, "status": "busy"}))
        assert (queue.worker().status, queue.worker().pid) == ("hung", first)
        queue.claim()
        queue.submit("describe_model", payload={"name": "another"})
        claimed = queue.job(job)
        assert claimed is not None and claimed.status == "running"
        second = fork_worker()
        wait_for(lambda: not Path(f"/proc/{second}").exists(), what="the second worker being turned away")
    finally:
        os.kill(first, signal.SIGCONT)
    wait_for(lambda: queue.worker().status == "idle" and queue.worker().pid == first, what="the first worker's beat")


def test_two_apps_that_start_a_worker_at_once_end_up_with_one(settings):
    """Two processes that find no worker each start one: the lock leaves one of them."""
    code = (
        f"import sys; sys.executable = {interpreter()!r}; "
        "from engine.desk.launch import ensure_worker; from engine.records.settings import read_settings; "
        f"ensure_worker(read_settings({str(settings.runs)!r}))"
    )
    apps = [subprocess.Popen([sys.executable, "-c", code], cwd=ROOT) for _ in range(2)]
    assert [app.wait(timeout=60) for app in apps] == [0, 0]
    queue = Queue(settings.desk)
    try:
        wait_for(lambda: queue.worker().status == "idle", seconds=120, what="a worker")

        def serving() -> list[str]:
            return [
                path.parent.name
                for path in Path("/proc").glob("[0-9]*/cmdline")
                if str(settings.runs) in _read(path) and "worker" in _read(path)
            ]

        # The other one is turned away as soon as it asks for the lock; what stands for a worker lasts as long as it.
        wait_for(lambda: len(serving()) == 1, what="one worker being left")
        assert queue.worker().alive
    finally:
        kill(queue.worker().pid)


def _read(path: Path) -> str:
    try:
        return path.read_text().replace("\0", " ")
    except OSError:
        return ""


def test_a_step_without_end_is_noticed_and_said(settings, monkeypatch):
    monkeypatch.setattr(worker_module, "HUNG_SECONDS", 0.2)
    monkeypatch.setattr(heart, "BEAT_SECONDS", 0.05)
    seen = []

    def stuck(_payload, _tools):
        yield Progress(phase="begins")
        deadline = time.monotonic() + 20
        while Queue(settings.desk).worker().status != "hung" and time.monotonic() < deadline:
            time.sleep(0.02)
        seen.append(Queue(settings.desk).worker())
        yield None

    monkeypatch.setitem(worker_module.JOBS, "describe_model", stuck)
    worker = Worker(settings)
    job = worker.queue.submit("describe_model", payload={})
    with owned(settings):
        worker.serve(until=lambda: bool(seen))
    assert seen[0].status == "hung" and seen[0].doing == "describe_model"
    assert worker.queue.job(job) is not None


def test_running_out_of_memory_fails_the_job_and_the_worker_goes_on(settings, monkeypatch, tiny_spec):
    def greedy(_payload, _tools):
        yield None
        torch.empty(2**50)

    monkeypatch.setitem(worker_module.JOBS, "describe_data", greedy)
    worker = Worker(settings)
    job = worker.queue.submit("describe_data", payload={})
    run = create_run(settings.runs, tiny_spec())
    worker.queue.submit("train", run_id=run.id)
    while worker.turn():
        pass
    ended = worker.queue.job(job)
    assert ended is not None and ended.status == "failed" and "Memory ran out" in ended.error
    assert run.record().status == "finished"
