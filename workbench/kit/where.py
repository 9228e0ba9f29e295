"""Where a run is trained: this machine's worker or a cluster's job, and what Slurm says of that. Draws nothing."""

from collections.abc import Sequence

from engine.desk.cluster import at_work, place_of
from engine.desk.cluster import look_at as seen
from engine.desk.presence import WorkerStatus
from engine.desk.queue import Queue
from engine.records.cluster_jobs import is_on_cluster, log_file, read_job, settings_of
from engine.records.clusters import Cluster, read_clusters
from engine.records.errors import ClusterError
from engine.records.files import read_tail
from engine.records.runs import Record, Run
from workbench.kit.state import queue, settings
from workbench.kit.status import MOVING, shown_status


def look_at(runs: Sequence[Run]) -> None:
    """Ask Slurm for all these runs at once, and set right those whose job has ended without a word."""
    seen(runs, settings())


def status_of(run: Run, record: Record, worker: WorkerStatus, *, changed: float = 0.0) -> str:
    """The status to show. A cluster's run is what its record says, but for one whose job was queued again."""
    if not is_on_cluster(run):
        return shown_status(record, worker, changed=changed)
    place = place_of(run)
    return "queued" if place is not None and place.waits and record.status in MOVING else record.status


def queues_of(run: Run) -> list[Queue]:
    """The queues in which jobs of a run may be: this machine's, and that of the cluster's job that has the run."""
    return [queue(), *([Queue(settings_of(run, settings()).desk)] if at_work(run) else [])]


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
