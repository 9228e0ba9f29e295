"""Start and end the worker process from outside. Knows nothing of what the worker does."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import psutil

from engine.desk.lock import is_held
from engine.desk.presence import WorkerStatus, process_exists
from engine.desk.queue import Queue
from engine.desk.worker_job import call_worker_back, worker_place
from engine.records.errors import WorkerError
from engine.records.files import storage_error
from engine.records.settings import ROOT, Settings

# How long a worker that holds the lock may be without a sign of life.
LOST_SECONDS = 1.0


def ensure_worker(settings: Settings, *, options: Sequence[str] = ()) -> WorkerStatus:
    """The living worker of this runs folder; one is started, detached, if there is none and none is a cluster's job.

    The worker outlives the caller: it has a session of its own and writes to its own log. options: of its command.
    """
    queue = Queue(settings.desk)
    worker = queue.worker()
    until = time.monotonic() + LOST_SECONDS
    while not worker.alive and is_held(settings.desk) and time.monotonic() < until:
        # Its folder was taken away: it has the lock again, and says in a moment that it lives.
        time.sleep(0.05)
        worker = queue.worker()
    if worker.alive or worker_place(settings, patience=10) is not None:
        # One that is a cluster's job may still wait for its node; a second one would take the folder from it.
        return worker
    environment = os.environ | {
        "WORKBENCH_CACHE": str(settings.cache),
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
    }
    try:
        settings.desk.mkdir(parents=True, exist_ok=True)
        with settings.worker_log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "engine", "worker", "--runs", str(settings.runs), *options],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        _started.append(process)
        queue.beat(status="starting", pid=process.pid, started=time.time(), doing="starting")
    except OSError as error:
        raise storage_error(settings.desk, error) from error
    return queue.worker()


def restart_worker(settings: Settings) -> WorkerStatus:
    """End the worker (its running job becomes interrupted and can be resumed) and start one of as many processes.

    One that is a cluster's job is called back, and none is started: that one may still write its checkpoint.
    """
    worker = Queue(settings.desk).worker()
    if worker_place(settings) is not None:
        call_worker_back(settings)
        return worker
    if worker.alive and worker.host != socket.gethostname():
        raise WorkerError(f"The worker runs on {worker.host} (process {worker.pid}): end it there.")
    if worker.alive:
        end_worker(worker.pid)
    return ensure_worker(settings, options=team_options(worker.machine))


def team_options(machine: Mapping[str, Any]) -> list[str]:
    """Of the worker's command, for a team like the one that it measured, of one process too; none where it had not come
    to that."""
    processes = ["--processes", str(int(machine["processes"]))] if "processes" in machine else []
    return [*processes, *(["--sharded"] if int(machine.get("shares", 1)) > 1 else [])]


def end_worker(pid: int) -> None:
    """End a worker politely, then by force. Raises WorkerError when it stays."""
    try:
        process = psutil.Process(pid)
        for end, seconds in ((process.terminate, 10.0), (process.kill, 5.0)):
            end()
            if _ended(process, seconds):
                return
    except psutil.NoSuchProcess:
        return
    except psutil.AccessDenied as error:
        raise WorkerError(f"The worker (process {pid}) belongs to somebody else: ask them to end it.") from error
    raise WorkerError(f"The worker (process {pid}) does not end: end it by hand, then start it again.")


def _ended(process: psutil.Process, seconds: float) -> bool:
    for child in _started:
        # One that was started here would linger as a zombie until it is asked for.
        if child.pid == process.pid:
            with suppress(subprocess.TimeoutExpired):
                child.wait(seconds)
    with suppress(psutil.TimeoutExpired):
        process.wait(0.1 if not process_exists(process.pid) else seconds)
    return not process_exists(process.pid)


_started: list[subprocess.Popen] = []
