"""The queue between screen and worker: jobs and controls, in one small SQLite file.

Losing the file loses no run: the worker queues again what the run folders say is queued. Knows nothing of models.
"""

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

from engine.desk.presence import WorkerStatus, beat, worker_status
from engine.records.errors import RunError
from engine.records.events import Control, Progress

JobKind = Literal[
    "train",
    "describe_model",
    "describe_data",
    "chat",
    "serve_answer",
    "answer_set",
    "dose_curve",
    "attack_picture",
    "evaluate",
    "fit_probe",
    "fetch_package",
    "fetch_model",
    "warm_projection",
    "project",
    "examine",
    "tokens",
    "capture",
]
# Lower goes first. What a user waits for goes before what runs by itself; equals take turns.
PRIORITY: dict[str, int] = {
    "chat": 1,
    "serve_answer": 1,
    "describe_model": 10,
    "describe_data": 10,
    "warm_projection": 15,
    "project": 20,
    "examine": 20,
    "tokens": 20,
    "capture": 30,
    "dose_curve": 20,
    "attack_picture": 20,
    "answer_set": 100,
    "evaluate": 100,
    "fit_probe": 100,
    "fetch_package": 30,
    "fetch_model": 30,
    "train": 100,
}
DIED = "The worker ended in the midst of it. Start the worker and ask again: what it wrote down is not done twice."
OLDER = "The worker is older than this page, and does not know how: restart it in the sidebar, then ask again."

_TABLES = """
CREATE TABLE IF NOT EXISTS jobs (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, run_id TEXT NOT NULL DEFAULT '', payload TEXT NOT NULL,
    priority INTEGER NOT NULL, state TEXT NOT NULL DEFAULT 'queued', created REAL NOT NULL,
    error TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state);
CREATE INDEX IF NOT EXISTS jobs_by_kind ON jobs (kind);
CREATE TABLE IF NOT EXISTS controls (
    id INTEGER PRIMARY KEY, run_id TEXT NOT NULL, control TEXT NOT NULL, value REAL, created REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS progress (job_id INTEGER PRIMARY KEY, content TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS unwanted (job_id INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS left_behind (job_id INTEGER PRIMARY KEY);
"""


class Job(NamedTuple):
    """One request to the worker. Lower priority numbers go first."""

    id: int
    kind: str
    run_id: str
    payload: dict[str, Any]
    priority: int
    status: str
    error: str


class ControlRequest(NamedTuple):
    id: int
    run_id: str
    control: Control
    value: float | None


class Queue:
    """Opens its file for each call, so that it may be used from any thread or process."""

    def __init__(self, desk: Path) -> None:
        self.desk = desk
        self.file = desk / "queue.sqlite"

    def submit(self, kind: JobKind, *, run_id: str = "", payload: dict[str, Any] | None = None) -> int:
        """Queue a job and return its number. An equal job that still waits, and is wanted, is returned instead of
        doubled."""
        text = json.dumps(payload or {}, sort_keys=True)
        worker = self.worker()
        if not worker.alive or worker.status == "starting":
            # What a dead worker had claimed does not wait: it must not be taken for the job that is asked for now. One
            # that is starting has claimed nothing yet.
            self.forget_claims()
        with self._open() as database:
            waiting = database.execute(
                "SELECT id FROM jobs WHERE kind = ? AND run_id = ? AND payload = ? AND state IN ('queued', 'running') "
                "AND id NOT IN (SELECT job_id FROM unwanted)",
                (kind, run_id, text),
            ).fetchone()
            if waiting:
                return int(waiting[0])
            # A new file begins with numbers that no older one has given: a worker may live that holds those.
            first = int(1000 * time.time())
            cursor = database.execute(
                "INSERT INTO jobs (id, kind, run_id, payload, priority, created) "
                "VALUES ((SELECT COALESCE(MAX(id) + 1, ?) FROM jobs), ?, ?, ?, ?, ?)",
                (first, kind, run_id, text, PRIORITY[kind], time.time()),
            )
            return int(cursor.lastrowid or 0)

    def claim(self) -> list[Job]:
        """Take all waiting jobs, most urgent first; they are marked as running."""
        with self._open() as database:
            rows = database.execute(
                "UPDATE jobs SET state = 'running' WHERE state = 'queued' "
                "RETURNING id, kind, run_id, payload, priority, state, error"
            ).fetchall()
        jobs = [_job(row) for row in rows]
        return sorted(jobs, key=lambda job: (job.priority, job.id))

    def finish(self, job_id: int, *, error: str = "", status: str = "") -> None:
        """Mark a job as done, as failed where there is an error, or as the given status (cancelled)."""
        with self._open() as database:
            status = status or ("failed" if error else "done")
            database.execute("UPDATE jobs SET state = ?, error = ? WHERE id = ?", (status, error, job_id))

    def job(self, job_id: int, *, of: Mapping[str, Any] | None = None) -> Job | None:
        """of: what its payload must say, for who kept the number longer than this file has been there."""
        with self._open() as database:
            row = database.execute(
                "SELECT id, kind, run_id, payload, priority, state, error FROM jobs WHERE id = ?", (job_id,)
            ).fetchone()
        job = _job(row) if row else None
        return job if job is not None and (of or {}).items() <= job.payload.items() else None

    def newest(self, kind: JobKind, *, limit: int = 20) -> list[Job]:
        """The latest jobs of a kind, whatever became of them, newest first."""
        with self._open() as database:
            rows = database.execute(
                "SELECT id, kind, run_id, payload, priority, state, error FROM jobs WHERE kind = ? "
                "ORDER BY id DESC LIMIT ?",
                (kind, limit),
            ).fetchall()
        return [_job(row) for row in rows]

    def under_way(self, kind: JobKind) -> list[Job]:
        """All jobs of a kind that wait or are at work, newest first."""
        with self._open() as database:
            rows = database.execute(
                "SELECT id, kind, run_id, payload, priority, state, error FROM jobs WHERE kind = ? "
                "AND state IN ('queued', 'running') ORDER BY id DESC",
                (kind,),
            ).fetchall()
        return [_job(row) for row in rows]

    def waiting(self) -> set[int]:
        """Numbers of the jobs that no worker has taken."""
        with self._open() as database:
            return {row[0] for row in database.execute("SELECT id FROM jobs WHERE state = 'queued'").fetchall()}

    def report(self, job_id: int, progress: Progress) -> None:
        """How far a job is, for jobs that write no run's events."""
        with self._open() as database:
            database.execute("INSERT OR REPLACE INTO progress VALUES (?, ?)", (job_id, progress.model_dump_json()))

    def progress(self, job_id: int) -> Progress | None:
        """The last thing a job reported."""
        with self._open() as database:
            row = database.execute("SELECT content FROM progress WHERE job_id = ?", (job_id,)).fetchone()
        return Progress.model_validate_json(row[0]) if row else None

    def cancel(self, job_id: int, *, left: bool = False) -> None:
        """Ask for a job to be closed; one that still waits is never begun. left: who asked for it has gone on to
        something else, which is no reason for others who wait for the same."""
        with self._open() as database:
            if left:
                database.execute("INSERT OR IGNORE INTO left_behind VALUES (?)", (job_id,))
            database.execute("UPDATE jobs SET state = 'cancelled' WHERE id = ? AND state = 'queued'", (job_id,))
            database.execute("INSERT OR IGNORE INTO unwanted VALUES (?)", (job_id,))

    def was_left(self, job_id: int) -> bool:
        """Whether a job was cancelled by somebody who went on to something else."""
        with self._open() as database:
            return bool(database.execute("SELECT 1 FROM left_behind WHERE job_id = ?", (job_id,)).fetchone())

    def take_unwanted(self) -> set[int]:
        """Jobs that were cancelled since the last call."""
        with self._open() as database:
            # Such as no worker has any more: one that ended put it back, or died of something else.
            database.execute(
                "UPDATE jobs SET state = 'cancelled', error = '' WHERE id IN (SELECT job_id FROM unwanted) "
                "AND (state = 'queued' OR (state = 'failed' AND error = ?))",
                (DIED,),
            )
            return {row[0] for row in database.execute("DELETE FROM unwanted RETURNING job_id").fetchall()}

    def forget_claims(self) -> None:
        """What a dead worker had claimed is nobody's any more."""
        with self._open() as database:
            database.execute("UPDATE jobs SET state = 'failed', error = ? WHERE state = 'running'", (DIED,))

    def forget_controls(self, *, of_all_but: Sequence[str]) -> None:
        """What was asked of other runs than these, and not done, is not done any more."""
        with self._open() as database:
            for number, run_id in database.execute("SELECT id, run_id FROM controls").fetchall():
                if run_id not in of_all_but:
                    database.execute("DELETE FROM controls WHERE id = ?", (number,))

    def control(self, run_id: str, control: Control, value: float | None = None) -> None:
        """Ask the worker to pause, resume, stop, cancel, or change a value from the next step on."""
        with self._open() as database:
            database.execute(
                "INSERT INTO controls (run_id, control, value, created) VALUES (?, ?, ?, ?)",
                (run_id, control, value, time.time()),
            )

    def controls(self) -> list[ControlRequest]:
        """All controls given and not yet carried out, in order."""
        with self._open() as database:
            rows = database.execute("SELECT id, run_id, control, value FROM controls ORDER BY id").fetchall()
        return [ControlRequest(*row) for row in rows]

    def carried_out(self, request: ControlRequest) -> None:
        """Forget a control: it was done. What is done first and forgotten then is not lost on a full disk."""
        with self._open() as database:
            database.execute("DELETE FROM controls WHERE id = ?", (request.id,))

    def beat(self, **about: Any) -> None:
        """The worker's sign of life: see engine.desk.presence."""
        beat(self.desk, **about)

    def worker(self) -> WorkerStatus:
        """The worker as the screen should show it."""
        return worker_status(self.desk)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self.desk.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.file, timeout=10, isolation_level=None)) as database:
                _keep_journal(database)
                database.executescript(_TABLES)
                database.execute("BEGIN IMMEDIATE")
                try:
                    yield database
                except BaseException:
                    database.execute("ROLLBACK")
                    raise
                database.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            raise RunError(
                f"The queue {self.file} cannot be used: {error}. Free some disk space, or delete the file: "
                "no run is lost with it."
            ) from error


def _keep_journal(database: sqlite3.Connection) -> None:
    """A journal that is deleted works where machines share the folder; a write-ahead log, which version 0.1 kept, needs
    memory that they share, and SQLite rules it out on a network filesystem."""
    if database.execute("PRAGMA journal_mode").fetchone()[0] != "delete":
        # An older worker that still has the file open keeps its own log until it ends.
        with suppress(sqlite3.OperationalError):
            database.execute("PRAGMA journal_mode = DELETE")


def _job(row: tuple) -> Job:
    number, kind, run_id, payload, priority, status, error = row
    return Job(number, kind, run_id, json.loads(payload), priority, status, error)
