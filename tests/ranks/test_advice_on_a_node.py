"""Where a process of a cluster's job dies, nobody is sent to a worker that is not there."""

import signal
from dataclasses import replace

import pytest
from several import begun, spec_of, steps_of, until, working
from test_processes_that_end import BRIEF, followers, interrupted

from engine.records.cluster_jobs import ClusterJob, settings_of, write_job
from engine.records.clusters import Resources
from engine.records.settings import Settings

pytestmark = pytest.mark.timeout(420)


def test_a_job_whose_process_dies_says_to_resume_the_run(folder, tmp_path):
    settings = Settings(tmp_path / "runs", tmp_path / "cache")
    with working(replace(settings, own_desk=tmp_path / "desk"), 2) as worker:
        run = begun(worker, spec_of(folder, **BRIEF))
        write_job(run, ClusterJob(cluster="here", asked=Resources(partition="gpu"), job="12"))
        assert settings_of(run, settings).own_desk
        until(worker, lambda: len(steps_of(run)) == 1)
        (other,) = followers()
        other.send_signal(signal.SIGKILL)
        other.wait(10)
        said = interrupted(worker, run)
    assert said == ("Process 2 of 2 has ended. The last checkpoint is kept: resume the run, on its cluster or here.")
