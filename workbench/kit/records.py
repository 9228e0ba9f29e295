"""Records of many runs, read again only where they changed. Knows nothing of widgets."""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from engine.records.runs import Record, Run


class Known(NamedTuple):
    """A record, and when it was written: seconds since the epoch."""

    record: Record
    changed: float


def known_record(run: Run) -> Known:
    """A record is replaced whole, by a new file: a thousand finished ones are not read every two seconds.

    Raises RunError as Run.record does, for a run that was deleted too.
    """
    try:
        stat = (run.folder / "record.json").stat()
    except OSError:
        # Says what is wrong; or the record has just come back.
        return Known(run.record(), 0.0)
    return Known(_record(str(run.folder), (stat.st_mtime_ns, stat.st_size, stat.st_ino)), stat.st_mtime)


def exists(run: Run) -> bool:
    """Whether the run is still there: somebody may have deleted it while its page is open."""
    return (run.folder / "record.json").is_file()


@lru_cache(maxsize=2000)
def _record(folder: str, stamp: tuple[int, ...]) -> Record:
    return Run(Path(folder)).record()
