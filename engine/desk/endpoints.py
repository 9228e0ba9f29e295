"""Which endpoints of a runs folder live, and what those left behind that were killed: requests hold people's texts.

desk/served/ENDPOINT.lock   held as long as the endpoint lives    ENDPOINT/   its requests (engine.records.served)

A lock tells the living from the dead as it does of workers (engine.desk.lock): a number of a process may be another's
by now.
"""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from engine.desk.lock import PATIENCE_SECONDS
from engine.desk.queue import Queue
from engine.records.files import storage_error
from engine.records.served import requests_folder
from engine.records.settings import Settings


@contextmanager
def endpoint_name(settings: Settings) -> Iterator[str]:
    """The name under which a new endpoint's requests are kept until it ends; those of dead ones are swept before.

    Raises RunError when the folder cannot be written.
    """
    sweep_endpoints(settings)
    name = secrets.token_hex(6)
    file = requests_folder(settings) / f"{name}.lock"
    lock = _lock(file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=PATIENCE_SECONDS)
    except OSError as error:
        raise storage_error(file, error) from error
    try:
        yield name
    finally:
        _forget(settings, file)
        lock.release()


def sweep_endpoints(settings: Settings) -> None:
    """Remove the requests of endpoints that live no more, and cancel what is still answered of them."""
    for file in requests_folder(settings).glob("*.lock"):
        lock = _lock(file)
        try:
            lock.acquire(blocking=False)
        except (Timeout, OSError):
            continue
        _forget(settings, file)
        lock.release()


def _forget(settings: Settings, file: Path) -> None:
    """Whoever calls holds the lock: one who waits for it meanwhile sees that its file is gone, and makes it anew."""
    queue, name = Queue(settings.desk), file.stem
    for job in queue.newest("serve_answer", limit=1000):
        if job.status in ("queued", "running") and str(job.payload.get("served")).startswith(f"{name}/"):
            queue.cancel(job.id)
    shutil.rmtree(file.with_suffix(""), ignore_errors=True)
    with suppress(OSError):
        file.unlink()


def _lock(file: Path) -> FileLock:
    return FileLock(file, thread_local=False, is_singleton=False)
