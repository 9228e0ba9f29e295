"""`--cluster` of submit and worker, up to where Slurm takes over: what is refused before, and what a run is made of."""

import argparse
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.__main__ import main
from engine.commands import submit
from engine.desk.lock import owned
from engine.desk.presence import beat
from engine.records.errors import ClusterError, WorkerError
from engine.records.prompt_files import file_hashes
from engine.records.runs import list_runs
from engine.records.settings import ROOT, Settings
from engine.records.spec import RunSpec

TABLE = '[a100]\npartition = "gpu"\ngpus = 0\ncpus = 1\nmemory_gb = 1\nhours = 1\n'


@pytest.fixture(autouse=True)
def cluster(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORKBENCH_CLUSTERS", raising=False)
    monkeypatch.setattr(submit, "send_or_delete", lambda *_, **__: None)
    settings.runs.mkdir(parents=True)
    (settings.runs.parent / "clusters.toml").write_text(TABLE)


@pytest.fixture
def spec_file(tiny_spec: Callable[..., RunSpec], tmp_path: Path) -> Callable[..., str]:
    def write(**changes: object) -> str:
        file = tmp_path / "spec.json"
        file.write_text(tiny_spec(**changes).to_json())
        return str(file)

    return write


@pytest.mark.parametrize("field", ["data.circuit_breaker", "data.retain", "model.name"])
def test_what_is_not_there_is_said_and_nothing_is_sent(
    field: str, spec_file: Callable[..., str], settings: Settings, capsys: pytest.CaptureFixture[str]
):
    assert main(["submit", spec_file(**{field: "/nowhere/file"}), "--cluster", "a100"]) == 2
    assert "/nowhere/file" in capsys.readouterr().err
    assert list_runs(settings.runs) == []


def test_a_run_is_of_the_files_that_its_job_reads_wherever_it_is_sent_from(
    spec_file: Callable[..., str], settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    relative = "sample_data/prompts/harmful.jsonl"
    (tmp_path / relative).parent.mkdir(parents=True)
    (tmp_path / relative).write_text('{"prompt": "Another one.", "target": "No."}\n')
    monkeypatch.chdir(tmp_path)
    spec = spec_file(**{"data.circuit_breaker": relative, "data.answers": "elicit"})
    assert main(["submit", spec, "--cluster", "a100"]) == 0
    (run,) = list_runs(settings.runs)
    assert run.record().sources[relative] == file_hashes([str(ROOT / relative)])[str(ROOT / relative)]


@pytest.mark.parametrize(
    ("place", "status", "said"),
    [
        ({"host": "elsewhere"}, "idle", r"The worker runs on elsewhere \(process \d+, idle\): end it there"),
        ({"host": "elsewhere"}, "busy", r"The worker runs on elsewhere \(process \d+, busy\): end it there"),
        ({}, "busy", r"The worker \(process \d+\) is busy: wait until it is idle, or end it\."),
    ],
)
def test_a_worker_that_cannot_give_way_to_a_job_is_named_with_what_to_do(
    place: dict, status: str, said: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    options = argparse.Namespace(cluster="a100", partition=None, gpus=None, hours=None)
    monkeypatch.setattr(submit, "send_worker", lambda *_, **__: pytest.fail("a job was sent"))
    with owned(settings):
        beat(settings.desk, status=status, pid=os.getpid(), **place)
        with pytest.raises(WorkerError, match=said):
            submit.worker_to_cluster(options, settings)


@pytest.fixture
def idle(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """A worker of two processes; what is done with it."""
    found: list[object] = []
    monkeypatch.setattr(submit, "end_worker", lambda pid: found.append("ended"))
    monkeypatch.setattr(submit, "ensure_worker", lambda _, *, options: found.append(options))
    with owned(settings):
        beat(settings.desk, status="idle", pid=os.getpid(), machine={"processes": 2, "shares": 2})
        yield found


def refuse(*_: object, **__: object) -> None:
    raise ClusterError("Slurm did not take the job.")


OPTIONS = argparse.Namespace(cluster="a100", partition=None, gpus=None, hours=None, processes=None, sharded=False)


def test_a_worker_is_not_ended_for_a_job_that_the_cluster_would_not_take(
    idle: list[object], settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(submit, "need_accepted", refuse)
    with pytest.raises(ClusterError, match="did not take"):
        submit.worker_to_cluster(OPTIONS, settings)
    assert idle == []


def test_where_the_job_is_refused_all_the_same_the_worker_is_begun_again_with_as_many_processes(
    idle: list[object], settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(submit, "need_accepted", lambda *_: None)
    monkeypatch.setattr(submit, "send_worker", refuse)
    with pytest.raises(ClusterError, match="did not take"):
        submit.worker_to_cluster(OPTIONS, settings)
    assert idle == ["ended", ["--processes", "2", "--sharded"]]
