"""The line of runs that wait for the device: their order, what each waits for, and when it may begin."""

import time
from collections.abc import Mapping
from typing import NamedTuple

from engine.desk.presence import WorkerStatus
from engine.records.cluster_jobs import is_on_cluster
from engine.records.errors import WorkbenchError
from engine.records.runs import Record, Run, list_runs, open_run
from workbench.kit.records import known_record
from workbench.kit.state import settings
from workbench.kit.words import clock, place
from workbench.runs.expected import left_in_all, whole_expected
from workbench.runs.follow import follow


class Waiting(NamedTuple):
    """A run in the line. number: from 1.  other: the run that trains, in words.  starts: seconds since the epoch, None
    where it is not known.  at_least: some run before it may take longer than is known.  worker: whether there is one.
    """

    number: int
    other: str
    starts: float | None
    at_least: bool
    worker: bool

    @property
    def short(self) -> str:
        """For a narrow column: '2nd in line, about 06:45'."""
        return f"{place(self.number)} in line" + (f", {self._when}" if self._when else "")

    @property
    def reason(self) -> str:
        """'Waits for quick, 26 Nov 06:20 (step 12 of 40)'."""
        if not self.worker:
            return "Waits for the worker, which does not run"
        return f"Waits for {self.other}" if self.other else "Waits to be taken up by the worker"

    @property
    def sentence(self) -> str:
        """'2nd in line: waits for quick, 26 Nov 06:20 (step 12 of 40); begins at about 06:45.'"""
        if not self.worker:
            return f"{place(self.number)} in line: waits for the worker, which does not run. Start it in the sidebar."
        if not self.other:
            return f"{place(self.number)} in line: begins when the worker takes it up."
        when = f"begins {self._when}" if self._when else "when it begins is known once that run takes steps"
        return f"{place(self.number)} in line: waits for {self.other}; {when}."

    @property
    def _when(self) -> str:
        if self.starts is None:
            return ""
        return ("not before " if self.at_least else "at about ") + clock(self.starts)


def waiting_line(worker: WorkerStatus) -> dict[str, Waiting]:
    """All runs that wait for this machine's worker, by their id, in the order in which they will train."""
    records: dict[str, Record] = {}
    for run in list_runs(settings().runs):
        try:
            if not is_on_cluster(run):
                # A folder that was copied by hand has the other's record.
                records[run.id] = known_record(run).record.model_copy(update={"id": run.id})
        except (WorkbenchError, OSError):
            continue
    order = in_line(records, worker)
    if not order:
        return {}
    other, starts = _at_work(worker)
    line, at_least = {}, False
    for number, run_id in enumerate(order, start=1):
        line[run_id] = Waiting(number, other, starts, at_least, worker.alive)
        takes = whole_expected(records[run_id], records.values())
        at_least = at_least or takes is None
        starts = None if starts is None else starts + (takes or 0.0)
    return line


def in_line(records: Mapping[str, Record], worker: WorkerStatus) -> list[str]:
    """Ids of runs that wait: as the worker has them in its line, then those that it has not taken up yet."""
    queued = [record for record in records.values() if record.status == "queued"]
    known = [run_id for run_id in worker.waiting if run_id in {record.id for record in queued}]
    return known + [one.id for one in sorted(queued, key=lambda one: one.created) if one.id not in known]


def _at_work(worker: WorkerStatus) -> tuple[str, float | None]:
    """The run that the others wait for, in words, and when it will have ended."""
    run_id = next(iter(worker.waiting.values()), "")
    if not run_id:
        return "", None
    try:
        run = open_run(settings().runs, run_id)
        record = run.record()
    except WorkbenchError:
        return f"run {run_id}", None
    left = left_in_all(record, follow(run))
    return f"{run.name} ({_reached(run, record)})", None if left is None else time.time() + left


def _reached(run: Run, record: Record) -> str:
    if record.step:
        return f"step {record.step} of {record.steps}"
    counted = follow(run).clock.counted
    words = "generating training answers" if counted and counted.phase == "eliciting" else "before its first step"
    return f"{words}{counted.counted if counted and counted.phase == 'eliciting' else ''}"
