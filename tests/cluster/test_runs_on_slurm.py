"""Runs on a real Slurm: sent, watched, steered, ended, begun again; beside each other and beside a local worker."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from making import wait_for
from safetensors.torch import load_file
from slurm_here import Slurm, begin_jobs, record_lines

from engine.__main__ import main
from engine.desk.cluster import control, settle, states_of, take_back, take_home
from engine.desk.launch import ensure_worker
from engine.desk.lock import owned
from engine.desk.queue import Queue
from engine.desk.sending import send
from engine.desk.slurm import call_back, job_states
from engine.desk.worker_job import call_worker_back, worker_place
from engine.records.cluster_jobs import is_on_cluster, log_file, read_job, settings_of
from engine.records.errors import RunError
from engine.records.events import StatusEvent, StepResult, effective
from engine.records.runs import Run, create_run
from engine.records.settings import Settings
from engine.records.spec_parts import ModelSpec
from engine.worker import Worker

pytestmark = pytest.mark.timeout(240)

# Long enough to be met in its midst.
LONG = {"optimizer.steps": 180, "captures.checkpoint_every": 10, "captures.heldout_every": 100}


@pytest.fixture
def trained_here(tmp_path: Path, tiny_spec: Callable) -> Callable[..., Run]:
    """The same spec, trained in one go by this process, in a runs folder of its own."""

    def train(**changes: object) -> Run:
        settings = Settings(tmp_path / "here", tmp_path / "cache")
        run = create_run(settings.runs, tiny_spec(**changes))
        worker = Worker(settings)
        worker.queue.submit("train", run_id=run.id)
        while run.record().status != "finished":
            worker.turn()
        return run

    return train


def steps(run: Run) -> int:
    return max((event.step + 1 for event in effective(run.events()[0]) if isinstance(event, StepResult)), default=0)


def job_of(run: Run) -> str:
    job = read_job(run)
    assert job is not None
    return job.job


def same(left: Run, right: Run) -> bool:
    one, other = (load_file(run.adapter_folder / "adapter_model.safetensors") for run in (left, right))
    return set(one) == set(other) and all(torch.equal(value, other[name]) for name, value in one.items())


def until_status(run: Run, status: str, *, seconds: float = 90) -> None:
    wait_for(lambda: run.record().status == status, seconds=seconds, what=f"{status} in place of {run.record().status}")


def test_a_run_is_watched_from_its_queueing_on_and_is_the_one_that_this_machine_trains(
    slurm: Slurm, cluster_settings: Settings, sent: Callable[..., Run], trained_here: Callable[..., Run]
):
    run = sent("first")
    assert run.record().status == "queued" and is_on_cluster(run)
    states = [states_of([run], patience=5).states[job_of(run)].state]
    lines = record_lines(slurm, job_of(run), until="COMPLETED")
    assert states[0] in ("PENDING", "RUNNING", "CONFIGURING") and any("RUNNING" in line for line in lines)
    assert run.record().status == "finished" and steps(run) == 6 and run.record().host
    job = read_job(run)
    assert (
        job is not None
        and f"job {job.job} leaves run {run.id}: finished" in log_file(cluster_settings, job).read_text()
    )
    # Nothing is left to set right, and its adapter is that of a run that never left this machine.
    assert not settle(run, job_states([job.job]), cluster_settings)
    assert same(run, trained_here())


def test_a_run_goes_on_exactly_after_its_time_was_up_after_a_requeue_and_after_its_node_has_died(
    slurm: Slurm, cluster_settings: Settings, forked_jobs: None, sent: Callable[..., Run]
):
    run, unbroken = sent("three times", **LONG), sent("in one go", **LONG)
    wait_for(lambda: steps(run) > 10, seconds=60, what="some steps")
    # What Slurm says when the time is nearly up.
    slurm.says("scancel", "--signal=USR2", job_of(run))
    until_status(run, "queued", seconds=30)
    first = run.record().step
    assert 10 < first < 180 and "BeginTime" in " ".join(record_lines(slurm, job_of(run), until="PENDING", seconds=30))
    assert not settle(run, job_states([job_of(run)]), cluster_settings)
    wait_for(lambda: steps(run) > first + 10, seconds=60, what="further steps")
    # As a job that has to give way to another one.
    slurm.says("scontrol", "requeue", job_of(run))
    until_status(run, "queued", seconds=30)
    second = run.record().step
    wait_for(lambda: steps(run) > second + 15, seconds=60, what="a further checkpoint")
    until_status(unbroken, "finished")
    slurm.lose_node()
    wait_for(lambda: slurm.node_state().startswith("down"), seconds=60, what="Slurm noting it", pause=0.2)
    # Slurm has queued it again: whoever looks leaves the run alone.
    assert not settle(run, job_states([job_of(run)]), cluster_settings)
    slurm.begin_node()
    record_lines(slurm, job_of(run), until="COMPLETED")
    assert run.record().status == "finished"
    said = [event for event in run.events()[0] if isinstance(event, StatusEvent)]
    assert [event.step for event in said if event.status == "resumed"][:2] == [first, second]
    assert [event.message for event in said if event.status == "interrupted"] == ["The node or its process died"]
    assert same(run, unbroken)


def test_an_array_of_four_trains_beside_a_local_worker_and_each_run_is_steered_alone(
    slurm: Slurm, cluster_settings: Settings, forked_jobs: None, tiny_spec: Callable
):
    settings = cluster_settings
    names = ("finished", "stopped", "cancelled", "paused")
    runs = [
        create_run(
            settings.runs, tiny_spec(**{"seed": seed, "optimizer.steps": 6 if name == "finished" else 20000}), name=name
        )
        for seed, name in enumerate(names)
    ]
    jobs = send(runs, to="here", settings=settings)
    assert {job.job.partition("_")[0] for job in jobs} == {jobs[0].job.partition("_")[0]} and len(
        {job.job for job in jobs}
    ) == 4
    finished, stopped, cancelled, paused = runs
    control(paused, settings, "pause")
    with owned(settings):
        local = Worker(settings)
        at_home = create_run(settings.runs, tiny_spec(), name="at home")
        # A worker that begins takes up what waits for it, and nothing of what the cluster has.
        local.serve(until=lambda: at_home.record().status == "finished")
        assert {job.run_id for job in local.queue.newest("train")} == {at_home.id}
        wait_for(lambda: steps(stopped) > 3 and steps(cancelled) > 3, seconds=120, what="steps of two at once")
        assert stopped.record().status == cancelled.record().status == "running"
        local.serve(until=lambda: True)
        assert stopped.record().status == "running"
    control(stopped, settings, "stop")
    control(cancelled, settings, "cancel")
    until_status(stopped, "stopped")
    until_status(cancelled, "stopped")
    assert (stopped.adapter_folder / "adapter_config.json").is_file() and not cancelled.adapter_folder.exists()
    until_status(finished, "finished")
    until_status(paused, "paused")
    before = steps(paused)
    control(paused, settings, "resume")
    wait_for(lambda: steps(paused) > before + 3, seconds=60, what="its going on")
    # Cancelled behind the workbench's back.
    slurm.says("scancel", job_of(paused))
    wait_for(lambda: settle(paused, job_states([job_of(paused)]), settings), seconds=60, what="the end being noted")
    record = paused.record()
    assert record.status == "interrupted" and "was cancelled in Slurm" in record.error and record.step > 0
    take_home(paused, settings)
    assert settings_of(paused, settings) == settings
    assert Queue(settings.desk).submit("train", run_id=paused.id)


def test_a_run_that_waits_says_why_and_can_be_cancelled_or_taken_back_before_it_has_begun(
    slurm: Slurm, cluster_settings: Settings, sent: Callable[..., Run], capsys: pytest.CaptureFixture[str]
):
    blocker = slurm.says("sbatch", "--parsable", "-c4", "--output=/dev/null", "--wrap=sleep 600").stdout.strip()
    record_lines(slurm, blocker, until="RUNNING")
    gone, kept, lost = sent("gone"), sent("kept"), sent("lost")
    wait_for(lambda: "PENDING (Resources)" in words(gone), seconds=30, what="its reason")
    assert main(["runs"]) == 0 and f"here, job {job_of(gone)}: PENDING (Resources)" in capsys.readouterr().out
    control(gone, cluster_settings, "cancel")
    assert (gone.record().status, gone.record().error) == ("stopped", "Cancelled: nothing was kept.")
    take_back(kept, cluster_settings)
    assert kept.record().status == "interrupted" and "Taken back from here" in kept.record().error
    take_home(kept, cluster_settings)
    assert not is_on_cluster(kept)
    # Sent again, it is the cluster's again.
    send([kept], to="here", settings=cluster_settings)
    assert kept.record().status == "queued" and is_on_cluster(kept) and kept.record().error == ""
    # Two clicks in two tabs are one job, and what Slurm does not know needs no calling back.
    with pytest.raises(RunError, match=f"is on here already \\(job {job_of(lost)}\\): wait, or take it back"):
        send([lost], to="here", settings=cluster_settings)
    call_back("999999")
    slurm.says("scancel", job_of(lost))
    wait_for(lambda: settle(lost, job_states([job_of(lost)]), cluster_settings), what="the end being noted")
    assert lost.record().status == "interrupted" and "cancelled in Slurm" in lost.record().error


def test_a_worker_on_a_node_serves_the_folder_that_it_shares_and_no_second_one_is_started(
    slurm: Slurm, cluster_settings: Settings, tiny_model_folder: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["worker", "--cluster", "here"]) == 0
    number = capsys.readouterr().out.strip()
    queue = Queue(cluster_settings.desk)
    place = worker_place(cluster_settings, patience=10)
    assert place is not None and place.job.job == number
    assert ensure_worker(cluster_settings).status == "dead" and not cluster_settings.worker_log.exists()
    job = queue.submit("describe_model", payload=ModelSpec(name=str(tiny_model_folder), device="cpu").model_dump())
    wait_for(lambda: (found := queue.job(job)) and found.status == "done", seconds=90, what="the job being done")
    assert main(["worker", "--cluster", "here"]) == 2 and "was sent already" in capsys.readouterr().err
    assert queue.worker().alive
    call_worker_back(cluster_settings)
    wait_for(lambda: not queue.worker().alive, seconds=30, what="its end")
    assert worker_place(cluster_settings, patience=10) is None


def words(run: Run) -> str:
    state = job_states([job_of(run)]).states.get(job_of(run))
    return state.words if state else ""


def test_a_job_of_two_processes_is_told_that_its_time_is_up_and_goes_on_exactly(
    slurm: Slurm, cluster_settings: Settings, sent: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
):
    """Slurm tells both, and so has both within what it began; the first one still needs the other to close the
    training."""
    monkeypatch.setenv("WORKBENCH_PROCESSES", "2")
    shorter = LONG | {"optimizer.steps": 60}
    begin_jobs(cluster_settings, forked=False)
    run = sent("twice", **shorter)
    wait_for(lambda: steps(run) > 5, seconds=90, what="some steps")
    slurm.says("scancel", "--signal=USR2", job_of(run))
    until_status(run, "queued", seconds=60)
    first = run.record().step
    begin_jobs(cluster_settings, forked=True)
    unbroken = sent("in one go", **shorter)
    record_lines(slurm, job_of(run), until="COMPLETED")
    assert run.record().status == "finished", run.record().error
    resumed = [event for event in run.events()[0] if isinstance(event, StatusEvent) and event.status == "resumed"]
    assert [event.step for event in resumed] == [first] and first > 5
    job = read_job(run)
    assert job is not None and log_file(cluster_settings, job).read_text().count("process 2 of 2") >= 1
    until_status(unbroken, "finished")
    assert same(run, unbroken)
