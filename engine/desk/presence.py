"""The worker as the screen sees it: what it last said of itself, and whether it lives. Knows nothing of jobs.

worker.json says what the worker does, replaced about once a second. Whether it lives is asked of its lock and, on the
same machine, of its process: a slow disk, a suspended laptop or a wrong clock end no worker.
"""

import json
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import psutil

from engine.desk.lock import is_held
from engine.records.files import write_whole

FILE = "worker.json"
# Without a word for so long the worker is shown as one that does not get on.
SILENT_SECONDS = 60.0
# By so much a process may seem to begin after a clock that was read when it had begun.
CLOCK_SECONDS = 5.0


class WorkerStatus(NamedTuple):
    """What the screen knows of the worker. status: dead, starting, idle, busy, or hung (alive, but without a step).

    waiting: for each run that waits for another one to end its training, that other run, in the order in which they
    will train.  trains: the run that has the device, for which a new one waits.  reason: why it ended, where it said
    so.  sources: digest of the engine's files that it was started from, '' where it does not say.
    """

    status: Literal["dead", "starting", "idle", "busy", "hung"]
    pid: int = 0
    host: str = ""
    device: str = ""
    doing: str = ""
    run_id: str = ""
    started: float = 0.0
    machine: Mapping[str, Any] = MappingProxyType({})
    waiting: Mapping[str, str] = MappingProxyType({})
    trains: str = ""
    reason: str = ""
    sources: str = ""

    @property
    def alive(self) -> bool:
        return self.status != "dead"


def beat(desk: Path, **about: Any) -> None:
    """The worker's sign of life, replaced about once a second. Raises RunError when it cannot be written."""
    content = {"pid": os.getpid(), "host": socket.gethostname(), "beat": time.time(), **about}
    write_whole(desk / FILE, json.dumps(content))


def worker_status(desk: Path) -> WorkerStatus:
    """The worker as the screen should show it."""
    try:
        content = json.loads((desk / FILE).read_text(encoding="utf-8"))
        pid, host, said = int(content["pid"]), str(content["host"]), float(content["beat"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return WorkerStatus("dead")
    status = content.get("status", "idle")
    if content.get("ended") or not _lives(desk, pid, host, status, said):
        return WorkerStatus("dead", pid=pid, host=host, reason=str(content.get("reason", "")))
    if status != "starting" and abs(time.time() - said) > SILENT_SECONDS:
        status = "hung"
    names = ("device", "doing", "run_id", "started", "machine", "waiting", "trains", "sources")
    return WorkerStatus(status, pid=pid, host=host, **{name: content[name] for name in names if name in content})


def process_exists(pid: int) -> bool:
    """Whether a process of this machine runs; one that has ended and waits for its parent does not."""
    with suppress(psutil.Error, ValueError, OverflowError):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def _lives(desk: Path, pid: int, host: str, status: str, said: float) -> bool:
    here = host == socket.gethostname()
    if here and not process_exists(pid):
        return False
    # While it loads its libraries it has no lock yet.
    return (here and status == "starting" and _began_before(pid, said)) or is_held(desk)


def _began_before(pid: int, moment: float) -> bool:
    """Whether a process is no younger than what was said of it: else the machine was started anew meanwhile, and gave
    its number to another."""
    with suppress(psutil.Error):
        return psutil.Process(pid).create_time() <= moment + CLOCK_SECONDS
    return False
