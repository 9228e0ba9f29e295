"""Of several processes one dies, hangs, or all are told something that cannot be done: sentences, and nothing lost."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import psutil
import pytest
import torch
from making import TOOL_TEMPLATE, write_prompts, write_tiny_model
from several import TOLERANCE, begun, furthest, spec_of, steps_of, until, weights_of, working

from engine import ranks
from engine.__main__ import main
from engine.compute.team import broken, present
from engine.compute.training import step
from engine.compute.training.checkpoints import list_checkpoints
from engine.ranks import teamed
from engine.records.errors import WorkerError
from engine.records.runs import Run, list_runs, open_run
from engine.records.settings import ROOT, Settings
from engine.worker import Worker

pytestmark = pytest.mark.timeout(420)

BRIEF = {"captures": {"capture_prompts": 0, "final_prompts": 0, "probe_prompts": 0, "heldout_every": 100}}


def children(word: str, of: psutil.Process | None = None) -> list[psutil.Process]:
    """Those that live and have this word in their command."""
    every = (of or psutil.Process()).children()
    return [child for child in every if child.status() != psutil.STATUS_ZOMBIE and word in child.cmdline()]


def followers() -> list[psutil.Process]:
    """What stands for them: their ends are each other's."""
    return children("worker")


def forked() -> list[psutil.Process]:
    """The followers themselves, and what other tests began so."""
    return [process for server in children("serve") for process in children("serve", server)]


def resumed(settings: Settings, run: Run, processes: int) -> dict[str, torch.Tensor]:
    with working(settings, processes) as worker:
        worker.queue.submit("train", run_id=run.id)
        until(worker, lambda: run.record().status == "finished")
    return weights_of(run)


def trained(settings: Settings, folder: Path, processes: int, **changes: dict) -> dict[str, torch.Tensor]:
    with working(settings, processes) as worker:
        run = begun(worker, spec_of(folder, **(changes or BRIEF)))
        until(worker, lambda: run.record().status == "finished")
    return weights_of(run)


def offering(folder: Path) -> Path:
    """A model whose template takes tools, and prompts that all offer the same one."""
    write_tiny_model(folder / "tiny", blocks=3, chat_template=TOOL_TEMPLATE, context=2048)
    nothing = {"type": "object", "properties": {}}
    tools = [
        {"type": "function", "function": {"name": "send", "description": "Send a letter. " * 20, "parameters": nothing}}
    ]
    for kind in ("harmful", "benign"):
        file = write_prompts(folder / f"{kind}.jsonl", kind=kind, rows=24)
        lines = [json.loads(line) | {"tools": tools} for line in file.read_text().splitlines()]
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def interrupted(worker: Worker, run: Run) -> str:
    """Until the run is; the sentence that says why."""
    until(worker, lambda: run.record().status == "interrupted")
    assert worker.ending.is_set() and worker.reason == broken()
    said = next(event.message for event in reversed(run.events()[0]) if event.kind == "status")
    assert run.record().error == said
    return said


def test_a_run_whose_process_dies_goes_on_from_its_last_step_on_as_many_and_on_one(folder, tmp_path):
    settings = Settings(tmp_path / "runs", tmp_path / "cache")
    with working(settings, 2) as worker:
        run = begun(worker, spec_of(folder, **BRIEF))
        until(worker, lambda: len(steps_of(run)) == 3)
        (other,) = followers()
        other.send_signal(signal.SIGKILL)
        other.wait(10)
        said = interrupted(worker, run)
    assert said.startswith("Process 2 of 2 has ended.") and "resume the run" in said
    # It had a checkpoint of step 2, and kept what it learned behind that.
    assert list_checkpoints(run.checkpoints_folder)[-1].name == "step-000003"
    copy = shutil.copytree(run.folder, tmp_path / "others" / run.id)
    unbroken = trained(Settings(tmp_path / "unbroken", tmp_path / "cache"), folder, 2)
    assert furthest(resumed(settings, run, 2), unbroken) == 0.0
    alone = Settings(tmp_path / "others", tmp_path / "cache")
    assert furthest(resumed(alone, open_run(alone.runs, copy.name), 1), unbroken) < TOLERANCE


def test_a_process_that_hangs_is_named_and_ended(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_PATIENCE_SECONDS", "4")
    monkeypatch.setattr(ranks, "END_SECONDS", 0.5)
    others = forked()
    with working(Settings(tmp_path / "runs", tmp_path / "cache"), 2) as worker:
        run = begun(worker, spec_of(folder, **BRIEF))
        until(worker, lambda: len(steps_of(run)) == 2)
        # What is stopped must be the process itself.
        (started,), (other,) = followers(), (process for process in forked() if process not in others)
        other.send_signal(signal.SIGSTOP)
        said = interrupted(worker, run)
    assert said.startswith("Process 2 of 2 has not answered for ") and "restart the worker" in said
    assert "`python -m engine worker --processes 2`" in said
    assert not started.is_running()
    other.wait(10)


def test_what_fails_in_all_processes_fails_the_run_alone_and_the_next_one_trains(folder, tmp_path):
    with working(Settings(tmp_path / "runs", tmp_path / "cache"), 2) as worker:
        wrong = begun(worker, spec_of(folder, **BRIEF, adapter={"modules": ("nonsense",), "rank": 2}))
        right = begun(worker, spec_of(folder, **BRIEF, optimizer={"steps": 2}))
        until(worker, lambda: right.record().status == "finished")
        assert wrong.record().status == "failed" and "has no module nonsense" in wrong.record().error
        assert not broken() and not worker.ending.is_set()
        # A run that is stopped gives its adapter back in all of them.
        third = begun(worker, spec_of(folder, **BRIEF))
        until(worker, lambda: len(steps_of(third)) == 2)
        worker.queue.control(third.id, "stop")
        until(worker, lambda: third.record().status == "stopped")
        team = present()
        assert team is not None and not team.broken
    assert present() is None and followers() == []


def test_torchrun_starts_a_foreground_training(folder, tmp_path, forked_workers):
    spec = tmp_path / "spec.json"
    spec.write_text(spec_of(folder, **BRIEF, optimizer={"steps": 2}).to_json())
    launch = [forked_workers, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python"]
    command = [forked_workers, "-m", "engine", "train", str(spec), "--runs", str(tmp_path / "runs")]
    environment = os.environ | {"WORKBENCH_CACHE": str(tmp_path / "cache")}
    done = subprocess.run([*launch, *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    (run,) = list_runs(Path(tmp_path / "runs"))
    assert done.stdout.split() == [run.id] and run.record().status == "finished"
    assert json.loads((run.folder / "record.json").read_text())["step"] == 2


@pytest.mark.parametrize("count", ["0", "many", "65"])
def test_a_number_of_processes_that_cannot_be_is_said(count, capsys):
    with pytest.raises(SystemExit):
        main(["worker", "--processes", count])
    assert f"{count} processes: give a number from 1 to 64" in capsys.readouterr().err


def test_a_number_of_processes_that_the_environment_gives_wrongly_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_PROCESSES", "two")
    said = pytest.raises(WorkerError, match=r"^two processes: give a number from 1 to 64\.$")
    with said, teamed(Settings(tmp_path / "runs", tmp_path / "cache")):
        pass


@pytest.mark.parametrize(
    ("at", "with_tools", "fewer"), [(3, False, "goes on with 128"), (0, False, "goes on with 128"), (1, True, "512")]
)
def test_memory_that_runs_out_in_one_process_halves_what_all_take_at_once(
    folder, tmp_path, monkeypatch, at: int, with_tools: bool, fewer: str
):
    """In the first step there are no moments yet. Rows that offer the same tools go together beyond the budget."""
    changes: dict = BRIEF
    if with_tools:
        folder = offering(tmp_path / "offering")
        changes = BRIEF | {
            "data": {"max_tokens": 1024, "drop_refusals": False},
            "optimizer": {"tokens_per_micro_batch": 1024},
        }
    unbroken = trained(Settings(tmp_path / "unbroken", tmp_path / "cache"), folder, 2, **changes)
    plain, left, groups = step._micro_step, [1], []

    def short(trainer, plan, group, *arguments, **more):
        if trainer.step == at and left and left.pop():
            raise torch.OutOfMemoryError("CUDA out of memory")
        groups.append((trainer.step, len(group)))
        return plain(trainer, plan, group, *arguments, **more)

    monkeypatch.setattr(step, "_micro_step", short)
    with working(Settings(tmp_path / "runs", tmp_path / "cache"), 2) as worker:
        run = begun(worker, spec_of(folder, **changes))
        until(worker, lambda: run.record().status in ("finished", "failed", "interrupted"))
        assert run.record().status == "finished" and not broken()
    (alert,) = [event.message for event in run.events()[0] if event.kind == "alert" and "Memory" in event.message]
    assert fewer in alert
    assert furthest(weights_of(run), unbroken) < TOLERANCE
    together = [max(size for step, size in groups if step == number) for number in (at - 1, at + 1) if number >= 0]
    assert not with_tools or together[0] > together[-1]


def test_a_tracker_that_is_not_there_fails_its_run_in_words_and_leaves_the_team_at_work(folder, tmp_path):
    settings = Settings(tmp_path / "runs", tmp_path / "cache")
    with working(settings, 2) as worker:
        tracked = begun(worker, spec_of(folder, captures=BRIEF["captures"] | {"trackers": ["wandb"]}))
        until(worker, lambda: tracked.record().status == "failed")
        assert "wandb is not installed" in tracked.record().error and not broken()
        run = begun(worker, spec_of(folder, **BRIEF))
        until(worker, lambda: run.record().status == "finished")
