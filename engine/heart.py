"""The worker's sign of life, about once a second from a thread of its own. Knows nothing of jobs."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from filelock import FileLock

from engine.desk.lock import held_again
from engine.desk.queue import Queue
from engine.records.errors import RunError, WorkbenchError, WorkerError

log = logging.getLogger("workbench.worker")

BEAT_SECONDS = 1.0


class Complaint:
    """A lasting problem, logged once and not at every look: the log may lie on the disk that is full."""

    def __init__(self) -> None:
        self.last = ""

    def say(self, message: str) -> None:
        if message != self.last:
            log.error("%s", message)
        self.last = message

    def is_over(self) -> None:
        """Should it come back, it is logged again."""
        self.last = ""


@contextmanager
def beating(queue: Queue, about: Callable[[], dict[str, Any]], last: Callable[[], str]) -> Iterator[None]:
    """Inside, what `about` tells is written down every second; on leaving, that the worker ended, and why (`last`)."""
    ending = threading.Event()

    def beat() -> None:
        complaint, locks = Complaint(), list[FileLock]()
        while not ending.is_set():
            try:
                # Whoever deletes this folder must not have two workers for it.
                if lock := held_again(queue.desk):
                    locks.append(lock)
                queue.beat(**about())
                complaint.is_over()
            except (RunError, WorkerError) as error:
                complaint.say(str(error))
            ending.wait(BEAT_SECONDS)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join(timeout=5)
        with suppress(WorkbenchError):
            queue.beat(status="dead", ended=True, reason=last())
