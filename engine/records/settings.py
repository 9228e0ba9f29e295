"""Where things are kept on this machine. Nothing here decides a result; what does is in the spec."""

import os
from dataclasses import dataclass
from pathlib import Path

from engine.records.errors import WorkbenchError, WorkerError

ROOT = Path(__file__).resolve().parents[2]
MOST_PROCESSES = 64
SAMPLE_DATA = ROOT / "sample_data"


@dataclass(frozen=True)
class Settings:
    """Folders of one workbench.

    runs: one folder a run, the truth about it.  cache: converted models and elicited answers, which are made
    again; uploads, published files and captures, which are not.
    own_desk: of a process that has one run to itself, as a cluster's job has.
    lessons: a teacher's own, beside those that ship.
    """

    runs: Path
    cache: Path
    own_desk: Path | None = None
    lessons: Path | None = None

    @property
    def desk(self) -> Path:
        """Queue, worker log and cards: what the workbench itself needs. Losing it loses no run.

        Beside the runs; of the runs that ship, which stay as they are, in the cache.
        """
        if self.own_desk:
            return self.own_desk
        return self.cache / "desk-of-samples" if self.runs.is_relative_to(SAMPLE_DATA) else self.runs / ".workbench"

    @property
    def models(self) -> Path:
        return self.cache / "models"

    @property
    def answers(self) -> Path:
        return self.cache / "answers"

    @property
    def uploads(self) -> Path:
        return self.cache / "uploads"

    @property
    def cards(self) -> Path:
        return self.desk / "cards"

    @property
    def pictures(self) -> Path:
        """Those that users gave."""
        return self.desk / "pictures"

    @property
    def progress(self) -> Path:
        """What was done of the lessons: one folder a unit."""
        return self.desk / "lessons"

    @property
    def worker_log(self) -> Path:
        return self.desk / "worker.log"


def read_settings(runs: str | Path | None = None) -> Settings:
    """Settings from the argument, else WORKBENCH_RUNS and WORKBENCH_CACHE, else runs/ and cache/ in the project; a
    teacher's lessons from WORKBENCH_LESSONS."""
    lessons = os.environ.get("WORKBENCH_LESSONS", "")
    return Settings(
        runs=_home(runs or os.environ.get("WORKBENCH_RUNS") or ROOT / "runs"),
        cache=_home(os.environ.get("WORKBENCH_CACHE") or ROOT / "cache"),
        lessons=_home(lessons) if lessons else None,
    )


def _home(path: str | Path) -> Path:
    # Path.expanduser raises where there is no such user.
    return Path(os.path.expanduser(path)).resolve()


def process_count(text: str) -> int:
    """How many processes work together. Raises WorkerError for what is no number from 1 to MOST_PROCESSES."""
    if not text.isdecimal() or not 1 <= int(text) <= MOST_PROCESSES:
        raise WorkerError(f"{text} processes: give a number from 1 to {MOST_PROCESSES}.")
    return int(text)


def given_path(text: str, *, error: type[WorkbenchError]) -> Path:
    """A path that a spec, a form or a command gives.

    Where WORKBENCH_FOLDERS is set (folders, divided as in PATH), the path must lie in one of them, among the samples,
    or in the workbench's own folders, links followed; `error` is raised where it does not.
    """
    if "\0" in text:
        raise error(f"{text!r} is no path: it holds a character that no file's name has. Write it anew.")
    # Path.expanduser raises where there is no such user.
    path = Path(os.path.expanduser(text))
    if allowed := os.environ.get("WORKBENCH_FOLDERS", ""):
        own = read_settings()
        folders = [Path(one).expanduser().resolve() for one in allowed.split(os.pathsep) if one]
        place = Path(os.path.realpath(path))
        if not any(place.is_relative_to(folder) for folder in (*folders, SAMPLE_DATA, own.runs, own.cache)):
            raise error(f"{text} lies outside the folders that may be read: put it into one of {allowed}.")
    return path
