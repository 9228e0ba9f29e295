"""The worker of a runs folder as a cluster's job: sent, waited for, called back. Knows nothing of what a worker does.

It serves the folder that it shares with this machine, as a local one would: the lock and the queue lie there.
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from engine.desk import slurm
from engine.desk.cluster import Place, watch
from engine.desk.sending import submit_command
from engine.records.cluster_jobs import ClusterJob
from engine.records.clusters import Resources
from engine.records.errors import ClusterError, RunError
from engine.records.files import write_whole
from engine.records.settings import Settings


def send_worker(settings: Settings, *, to: str, asked: Resources, how: Sequence[str] = ()) -> ClusterJob:
    """Have a cluster's job serve the runs folder. how: options of the worker there.

    Raises ClusterError; RunError when the disk is full."""
    need_none_sent(settings)
    number = submit_command(
        ["worker", "--runs", str(settings.runs), *how], to=to, settings=settings, asked=asked, name="breaker-worker"
    )
    job = ClusterJob(cluster=to, asked=asked, job=number)
    try:
        write_whole(_file(settings), job.model_dump_json(indent=2))
    except RunError:
        with suppress(ClusterError):
            slurm.call_back(number)
        raise
    return job


def need_none_sent(settings: Settings) -> None:
    """Raises ClusterError where a cluster's job serves the runs folder, or will."""
    if (place := worker_place(settings, patience=10)) is not None:
        raise ClusterError(f"A worker was sent already ({place.words}): wait for it, or `scancel {place.job.job}`.")


def worker_place(settings: Settings, *, patience: float = 1.0) -> Place | None:
    """The job that serves the runs folder, or will; None where there is none, it has ended, or Slurm says nothing: then
    the lock alone tells whether a worker lives."""
    try:
        job = ClusterJob.model_validate_json(_file(settings).read_bytes())
    except (OSError, ValidationError):
        return None
    answer = watch.states([job.job], patience=patience)
    state = answer.states.get(job.job)
    if answer.problem or state is None or state.has_ended:
        return None
    return Place(job, state.words, state.waits)


def call_worker_back(settings: Settings) -> None:
    """Cancel the job that serves the runs folder, or waits to. Raises ClusterError when Slurm gives no answer."""
    place = worker_place(settings, patience=10)
    if place is not None:
        slurm.call_back(place.job.job)
    with suppress(OSError):
        _file(settings).unlink(missing_ok=True)


def _file(settings: Settings) -> Path:
    return settings.desk / "worker-job.json"
