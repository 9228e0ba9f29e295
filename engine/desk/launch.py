"""Start and end the worker process from outside. Knows nothing of what the worker does."""

import os
import signal
import subprocess
import sys
import time

from engine.desk.queue import Queue, WorkerStatus
from engine.records.errors import WorkerError
from engine.records.files import storage_error
from engine.records.settings import ROOT, Settings


def ensure_worker(settings: Settings) -> WorkerStatus:
    """The living worker of this runs folder; one is started, detached, if there is none.

    The worker outlives the caller: it has a session of its own and writes to its own log.
    """
    queue = Queue(settings.desk)
    worker = queue.worker()
    if worker.alive:
        return worker
    environment = os.environ | {
        "WORKBENCH_CACHE": str(settings.cache),
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
    }
    try:
        settings.desk.mkdir(parents=True, exist_ok=True)
        with settings.worker_log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "engine", "worker", "--runs", str(settings.runs)],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        queue.beat(status="starting", pid=process.pid, started=time.time(), doing="starting")
    except OSError as error:
        raise storage_error(settings.desk, error) from error
    _started.append(process)
    return queue.worker()


def restart_worker(settings: Settings) -> WorkerStatus:
    """End the worker (its running job becomes interrupted and can be resumed) and start a new one."""
    worker = Queue(settings.desk).worker()
    if worker.alive:
        end_worker(worker.pid)
    return ensure_worker(settings)


def end_worker(pid: int) -> None:
    """End a worker politely, then by force. Raises WorkerError when it stays."""
    for kind, seconds in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0)):
        try:
            os.kill(pid, kind)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for process in _started:
                process.poll()
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.05)
    raise WorkerError(f"The worker (process {pid}) does not end: end it by hand, then start it again.")


# Workers started here are polled so that an ended one does not linger as a zombie of this process.
_started: list[subprocess.Popen] = []
