"""Who owns a runs folder: the worker holds a lock on it as long as it lives, whatever the clock says.

The system gives the lock back when its holder ends in any way, a kill and a power cut included.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from engine.records.errors import WorkerError
from engine.records.settings import Settings

LOCK = "worker.lock"
# Whoever asks whether the lock is held has it for a moment: the one who wants to keep it waits that long.
PATIENCE_SECONDS = 0.5


@contextmanager
def owned(settings: Settings, *, patience: float = PATIENCE_SECONDS) -> Iterator[None]:
    """Hold the lock of a runs folder, or of one run. Raises WorkerError when another worker has it, or the folder
    cannot be used. patience: seconds."""
    lock = _lock(settings.desk)
    try:
        settings.desk.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=patience)
    except Timeout as error:
        if settings.own_desk:
            raise WorkerError(
                f"Another process is at work on run {settings.own_desk.parent.name}: try again when it has ended."
            ) from error
        raise WorkerError(
            f"Another worker owns {settings.runs}: use it (`python -m engine submit`), end it, or choose another "
            "folder with --runs."
        ) from error
    except OSError as error:
        raise WorkerError(
            f"The runs folder {settings.runs} cannot be used: {error.strerror}. Choose another with --runs."
        ) from error
    try:
        yield
    finally:
        lock.release()


def is_held(desk: Path) -> bool:
    """Whether somebody holds the lock of this desk. Two who ask in one moment may both be told so."""
    if not (desk / LOCK).exists():
        return False
    lock = _lock(desk)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    except OSError:
        # A folder that cannot be written has no worker.
        return False
    lock.release()
    return False


def held_again(desk: Path) -> FileLock | None:
    """For the one who owns it: where the lock's file was taken away, the lock of a new one, which must be kept; None
    where it is there. Raises WorkerError where another has it meanwhile, or the folder cannot be used."""
    if (desk / LOCK).exists():
        return None
    lock = _lock(desk)
    try:
        desk.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except (Timeout, OSError) as error:
        raise WorkerError(f"The lock in {desk} was taken away, and cannot be held again.") from error
    return lock


def _lock(desk: Path) -> FileLock:
    return FileLock(desk / LOCK, thread_local=False, is_singleton=False)
