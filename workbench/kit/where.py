"""Where a run is trained: this machine's worker or a cluster's job, and what Slurm says of that. Draws nothing."""

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from engine.desk.cluster import settle, states_of
from engine.desk.presence import WorkerStatus
from engine.desk.queue import Queue
from engine.records.cluster_jobs import ClusterJob, is_on_cluster, log_file, read_job, settings_of
from engine.records.clusters import Cluster, read_clusters
from engine.records.errors import ClusterError, WorkbenchError
from engine.records.evaluation.own import is_pending
from engine.records.files import read_tail
from engine.records.runs import ACTIVE, Record, Run
from workbench.kit.records import known_record
from workbench.kit.state import queue, settings
from workbench.kit.status import MOVING, shown_status

# Slurm's words for a job that holds no node.
_WAITS = frozenset({"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED"})


class Place(NamedTuple):
    """A cluster's job that has a run. said: Slurm's words, '' where it said none.  problem: why it gave no answer."""

    job: ClusterJob
    said: str = ""
    waits: bool = False
    problem: str = ""

    @property
    def words(self) -> str:
        """'a100, job 12: PENDING (Resources)'."""
        name = f"{self.job.cluster}, job {self.job.job}" if self.job.job else f"{self.job.cluster}, being sent"
        return f"{name}: {self.said}" if self.said else name


def look_at(runs: Sequence[Run]) -> None:
    """Ask Slurm for all these runs at once, and set right those whose job has ended without a word."""
    active = [run for run in runs if is_on_cluster(run) and _may_live(run)]
    if not active:
        return
    answer = states_of(active)
    for run in active:
        with suppress(WorkbenchError):
            settle(run, answer, settings())


def place_of(run: Run) -> Place | None:
    """The cluster's job that has a run; None for a run of this machine. Raises RunError for a damaged file."""
    job = read_job(run)
    if job is None:
        return None
    if not _may_live(run):
        return Place(job)
    answer = states_of([run], patience=0.0)
    state = answer.states.get(job.job)
    if state is None:
        return Place(job, problem=answer.problem)
    return Place(job, state.words, state.state in _WAITS, answer.problem)


def status_of(run: Run, record: Record, worker: WorkerStatus, *, changed: float = 0.0) -> str:
    """The status to show. A cluster's run is what its record says, but for one whose job was queued again."""
    if not is_on_cluster(run):
        return shown_status(record, worker, changed=changed)
    place = place_of(run)
    return "queued" if place is not None and place.waits and record.status in MOVING else record.status


def queue_of(run: Run) -> Queue:
    """The queue of whoever has the run."""
    return Queue(settings_of(run, settings()).desk) if is_on_cluster(run) else queue()


def job_log(run: Run) -> str | None:
    """What Slurm wrote down of a run's job; None for a run of this machine."""
    job = read_job(run)
    if job is None:
        return None
    return read_tail(log_file(settings(), job)) or f"Job {job.job} has written nothing yet."


def clusters() -> tuple[dict[str, Cluster], str]:
    """The clusters that are described, and what is wrong with their file, '' where nothing is."""
    try:
        return read_clusters(settings()), ""
    except ClusterError as error:
        return {}, str(error)


def _may_live(run: Run) -> bool:
    with suppress(WorkbenchError, OSError):
        record = known_record(run).record
        return record.status in ACTIVE or is_pending(record)
    return False
