"""Fixtures: a real Slurm for these tests, and a workbench that knows it as the cluster 'here'."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from slurm_here import Slurm, begin_jobs, install

from engine.desk import cluster
from engine.desk.sending import send
from engine.desk.slurm import Watch
from engine.records.runs import Run, create_run
from engine.records.settings import Settings
from engine.records.spec import RunSpec

TABLE = """
[here]
partition = "small"
gpus = 0
cpus = 1
memory_gb = 1
hours = 0.5
notice_seconds = 60
"""


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """Skipped with a sentence where Slurm cannot be; a failure where WORKBENCH_NEED_SLURM says that it must."""
    if reason := install():
        if os.environ.get("WORKBENCH_NEED_SLURM"):
            pytest.fail(f"The tests against a real Slurm could not run. {reason}")
        pytest.skip(reason)
    found = Slurm(tmp_path_factory.mktemp("slurm"))
    try:
        found.start()
        yield found
    finally:
        found.stop()


@pytest.fixture
def cluster_settings(slurm: Slurm, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings with the cluster 'here'; its jobs end with the test."""
    settings.runs.mkdir(parents=True)
    (settings.runs.parent / "clusters.toml").write_text(TABLE)
    monkeypatch.delenv("WORKBENCH_CLUSTERS", raising=False)
    monkeypatch.setattr(cluster, "watch", Watch())
    yield settings
    slurm.cancel_all()


@pytest.fixture
def forked_jobs(cluster_settings: Settings) -> None:
    """For tests of what becomes of a job, not of how it begins."""
    begin_jobs(cluster_settings, forked=True)


@pytest.fixture
def sent(cluster_settings: Settings, tiny_spec: Callable[..., RunSpec]) -> Callable[..., Run]:
    """A run of the tiny spec that the cluster has."""

    def make(name: str, **changes: object) -> Run:
        run = create_run(cluster_settings.runs, tiny_spec(**changes), name=name)
        send([run], to="here", settings=cluster_settings)
        return run

    return make


@pytest.fixture
def clusters_file(settings: Settings) -> Path:
    """Where clusters are described; not there yet."""
    settings.runs.mkdir(parents=True)
    return settings.runs.parent / "clusters.toml"
