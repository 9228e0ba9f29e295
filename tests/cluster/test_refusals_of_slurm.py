"""What a real Slurm refuses, and a Slurm that is down: sentences with what to do, nothing lost, no page that hangs."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from making import wait_for
from slurm_here import Slurm, record_lines

from engine.__main__ import main
from engine.desk import sending
from engine.desk import slurm as slurm_commands
from engine.desk.cluster import control, settle, states_of, take_home
from engine.desk.slurm import Watch, job_states, partitions
from engine.records.cluster_jobs import is_on_cluster, read_job, write_job
from engine.records.errors import ClusterError, RunError
from engine.records.runs import Run, create_run, delete_run, list_runs
from engine.records.settings import Settings

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def spec_file(tiny_spec: Callable, tmp_path: Path) -> str:
    file = tmp_path / "spec.json"
    file.write_text(tiny_spec().to_json())
    return str(file)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--cluster", "there"], "No cluster is called 'there'"),
        (
            ["--cluster", "here", "--partition", "gpu"],
            "The cluster 'here' has no partition 'gpu': choose one of small.",
        ),
        (["--cluster", "here", "--hours", "2"], "2 hours are more than the partition 'small' allows (1)"),
        (["--cluster", "here", "--hours", "0.01"], "0.01 hours are too short: 60 seconds before their end"),
        (["--cluster", "here", "--hours", "-1"], "hours is -1.0: it must be greater than 0"),
        (["--cluster", "here", "--gpus", "4"], "Slurm did not take the job: "),
    ],
)
def test_what_cannot_be_is_said_and_leaves_no_run_and_no_job(
    options: list[str],
    said: str,
    spec_file: str,
    slurm: Slurm,
    cluster_settings: Settings,
    capsys: pytest.CaptureFixture[str],
):
    assert main(["submit", spec_file, *options]) == 2
    assert said in capsys.readouterr().err
    assert list_runs(cluster_settings.runs) == []
    assert slurm.says("squeue", "-h").stdout == ""


def test_a_slurm_that_is_down_is_said_soon_and_ends_no_run(
    slurm: Slurm,
    cluster_settings: Settings,
    forked_jobs: None,
    sent: Callable[..., Run],
    spec_file: str,
    capsys: pytest.CaptureFixture[str],
):
    blocker = slurm.says("sbatch", "--parsable", "-c4", "--output=/dev/null", "--wrap=sleep 600").stdout.strip()
    record_lines(slurm, blocker, until="RUNNING")
    run = sent("waiting")
    watch = Watch()
    job = read_job(run)
    assert job is not None
    assert watch.states([job.job], patience=10).states[job.job].state == "PENDING"
    impatient = pytest.MonkeyPatch()
    slurm.end_controller()
    try:
        started = time.monotonic()
        assert main(["submit", spec_file, "--cluster", "here"]) == 2
        assert "Jobs under way go on" in capsys.readouterr().err and time.monotonic() - started < 20
        # So it was with the patience that a user has; each further question has less.
        impatient.setitem(slurm_commands._run.__kwdefaults__, "patience", 1.0)
        wait_for(lambda: watch.states([job.job]).problem, seconds=30, what="its silence being noted")
        # A page that looks now waits for nothing, and has what Slurm said last.
        started = time.monotonic()
        answer = watch.states([job.job])
        assert time.monotonic() - started < 1 and answer.states[job.job].state == "PENDING"
        assert not settle(run, answer, cluster_settings) and run.record().status == "queued"
        with pytest.raises(RunError, match="may still be on here"):
            take_home(run, cluster_settings)
        # One that its job has left needs no answer of Slurm's.
        left = create_run(cluster_settings.runs, run.spec())
        write_job(left, job.model_copy(update={"job": "999"}))
        left.update(status="stopped")
        take_home(left, cluster_settings)
        assert not is_on_cluster(left)
        delete_run(left)
        with pytest.raises(ClusterError, match="The cancel is kept: the job finds it when it begins"):
            control(run, cluster_settings, "cancel")
        assert [found.id for found in list_runs(cluster_settings.runs)] == [run.id]
    finally:
        impatient.undo()
        slurm.begin_controller()
    assert job_states([job.job]).states[job.job].state == "PENDING"
    slurm.says("scancel", blocker)
    # It begins, and finds the cancel.
    wait_for(lambda: run.record().status == "stopped", seconds=90, what="the cancel")
    assert not run.adapter_folder.exists()


def test_a_disk_that_is_full_when_the_job_is_noted_leaves_neither_job_nor_run(
    slurm: Slurm,
    cluster_settings: Settings,
    spec_file: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    real = sending.write_job

    def full(run: Run, job) -> None:
        if job.job:
            raise RunError("The disk is full: cluster.json could not be written. Free some space, then resume the run.")
        real(run, job)

    monkeypatch.setattr(sending, "write_job", full)
    assert main(["submit", spec_file, "--cluster", "here"]) == 2
    assert "The disk is full" in capsys.readouterr().err
    assert list_runs(cluster_settings.runs) == []
    wait_for(lambda: slurm.says("squeue", "-h").stdout == "", seconds=30, what="the job being called back")


def test_a_run_whose_sending_fails_when_it_is_resumed_is_as_it_was(
    cluster_settings: Settings, tiny_spec: Callable, slurm: Slurm
):
    run = create_run(cluster_settings.runs, tiny_spec())
    run.update(status="interrupted", error="The worker died", step=3)
    asked = sending.find_cluster(cluster_settings, "here").asked(gpus=9)
    with pytest.raises(ClusterError, match="Slurm did not take the job"):
        sending.send([run], to="here", asked=asked, settings=cluster_settings)
    assert not is_on_cluster(run) and (run.record().status, run.record().step) == ("interrupted", 3)


def test_without_slurm_s_commands_the_workbench_says_where_to_start_it(
    cluster_settings: Settings, tiny_spec: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    run = create_run(cluster_settings.runs, tiny_spec())
    with monkeypatch.context() as without:
        without.setenv("PATH", str(tmp_path))
        with pytest.raises(ClusterError, match="sbatch is not installed here: start the workbench on a machine"):
            sending.send([run], to="here", settings=cluster_settings)
        with pytest.raises(ClusterError, match="sinfo is not installed here"):
            partitions()
        assert states_of([run]).problem == ""


def test_a_sweep_trains_and_evaluates_its_points_as_an_array(
    slurm: Slurm,
    cluster_settings: Settings,
    forked_jobs: None,
    tiny_spec: Callable,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "Say abc.", "target": "Sure, abc"}\n')
    grid = tmp_path / "grid.json"
    content = {
        "base": json.loads(tiny_spec(**{"optimizer.steps": 2}).to_json()),
        "grid": {"schedule.alpha": [2, 4]},
        "evaluate": {"attacks": ["direct"], "harmful": str(rows), "benign": str(rows), "new_tokens": 4},
    }
    grid.write_text(json.dumps(content))
    # This machine's worker has nothing to do with it.
    monkeypatch.setattr("engine.commands.sweep.ensure_worker", lambda _: pytest.fail("a worker was started"))
    assert main(["sweep", str(grid), "--cluster", "here"]) == 0
    jobs = [read_job(run) for run in list_runs(cluster_settings.runs)]
    assert len({job.job for job in jobs if job}) == 2 and len({job.job.split("_")[0] for job in jobs if job}) == 1
    assert all(run.record().status == "finished" for run in list_runs(cluster_settings.runs))
    assert "harmful loss base" in capsys.readouterr().out
    # What was trained and evaluated there is not done again.
    assert main(["sweep", str(grid), "--cluster", "here"]) == 0
    assert len(list_runs(cluster_settings.runs)) == 2
