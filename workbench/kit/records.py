"""Records of many runs, read again only where they changed. Knows nothing of widgets."""

from functools import lru_cache
from pathlib import Path

from engine.records.runs import Record, Run


def known_record(run: Run) -> Record:
    """A record is replaced whole, by a new file: a thousand finished ones are not read every two seconds.

    Raises RunError as Run.record does, and OSError where there is no record.
    """
    stat = (run.folder / "record.json").stat()
    return _record(str(run.folder), (stat.st_mtime_ns, stat.st_size, stat.st_ino))


def exists(run: Run) -> bool:
    """Whether the run is still there: somebody may have deleted it while its page is open."""
    return (run.folder / "record.json").is_file()


@lru_cache(maxsize=2000)
def _record(folder: str, stamp: tuple[int, ...]) -> Record:
    return Run(Path(folder)).record()
