"""What a run's status and the worker's look like. Pure: knows nothing of Streamlit or files."""

from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, median
from typing import Literal, NamedTuple

from engine.desk.presence import WorkerStatus
from engine.records.runs import Record

Colour = Literal["red", "orange", "yellow", "blue", "green", "violet", "gray"]


class Badge(NamedTuple):
    word: str
    icon: str
    colour: Colour


BADGES: dict[str, Badge] = {
    "queued": Badge("queued", ":material/hourglass_empty:", "gray"),
    "running": Badge("running", ":material/play_arrow:", "blue"),
    "paused": Badge("paused", ":material/pause:", "yellow"),
    "stopping": Badge("stopping", ":material/stop_circle:", "orange"),
    "stopped": Badge("stopped", ":material/stop:", "gray"),
    "finished": Badge("finished", ":material/check:", "green"),
    "failed": Badge("failed", ":material/error:", "red"),
    "interrupted": Badge("interrupted", ":material/power_off:", "violet"),
}
WORKER_BADGES: dict[str, Badge] = {
    "dead": Badge("not running", ":material/power_off:", "red"),
    "starting": Badge("starting", ":material/hourglass_top:", "yellow"),
    "idle": Badge("idle", ":material/check_circle:", "green"),
    "busy": Badge("busy", ":material/sync:", "blue"),
    "hung": Badge("no sign of work", ":material/warning:", "orange"),
}
MOVING = frozenset({"running", "paused", "stopping"})


def shown_status(record: Record, worker: WorkerStatus, *, changed: float = 0.0) -> str:
    """The record's status, or 'interrupted' when no worker is at work on a run that claims to move.

    changed: when the record was last written. A living worker that wrote it since it began is trusted before its next
    sign of life names the run; a record older than the worker was left behind by an earlier one.
    """
    if record.status not in MOVING:
        return record.status
    if not worker.alive:
        return "interrupted"
    if worker.run_id == record.id or (worker.started and changed >= worker.started):
        return record.status
    return "interrupted"


def remaining_seconds(times: Sequence[float], left: int) -> float | None:
    """Time for the steps that are left at the pace of the last twenty; pauses do not count, held-out measurements do.

    times: at which steps ended, in order.  None before the second step.
    """
    gaps = [after - before for before, after in pairwise(times[-21:])]
    if not gaps:
        return None
    usual = median(gaps)
    return max(0, left) * fmean(gap for gap in gaps if gap <= max(10 * usual, 60.0))
