"""What every fetching shares: one at a time, and only where the disk has room. Knows nothing of what is fetched."""

import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from engine.records.errors import WorkbenchError
from engine.records.events import Progress
from engine.records.files import storage_error
from engine.records.packaged import GIGABYTE


def locked(file: Path, what: str, doing: str = "fetched") -> Generator[Progress, None, FileLock]:
    """The lock, which whoever asked for it gives back; yields as long as another process holds it."""
    lock = FileLock(file)
    while True:
        try:
            lock.acquire(blocking=False)
            return lock
        except Timeout:
            yield Progress(phase="waiting", message=f"{what} is being {doing} by another", elsewhere=True)


@contextmanager
def stored(folder: Path) -> Iterator[None]:
    """Around what writes below a folder: raises RunError in the user's words where that fails."""
    try:
        yield
    except OSError as error:
        raise storage_error(folder, error) from error


def need_disk(
    what: str, folder: Path, needed: int, *, doing: str, error: type[WorkbenchError], setting: str = "WORKBENCH_CACHE"
) -> None:
    """Raises `error` where a folder's disk has fewer bytes free than are needed. setting: what moves the folder."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise error(
            f"{what} needs {needed / GIGABYTE:.1f} GB of disk while it is {doing}, and {folder.parent} has "
            f"{free / GIGABYTE:.1f} GB free: free some, or set {setting} to a larger disk. Nothing was fetched."
        )
