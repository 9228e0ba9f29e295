"""Slurm's own commands, each with a short patience: what it knows of jobs, partitions; call a job back, queue it again.

sacct is not asked: many clusters have none. squeue knows a job until some minutes after its end.
"""

import subprocess
import threading
import time
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import NamedTuple

from engine.records.errors import ClusterError

# Slurm's own patience with a controller that is down is longer than anybody's with a page.
PATIENCE_SECONDS = 5.0
KEPT_SECONDS = 3.0
# After no answer it is not asked again so soon.
LATER_SECONDS = 20.0
ENDED = frozenset(
    {"COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE", "PREEMPTED"}
)
WAITING = frozenset({"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT"})
# What its commands say where there is nobody to ask, or nobody who knows the account.
_OUT_OF_REACH = ("Unable to contact", "Socket timed out", "Zero Bytes were transmitted", "Unable to establish")


class JobState(NamedTuple):
    """Slurm's own words for a job: 'PENDING', 'Resources', and its node once it has one."""

    state: str
    reason: str = ""
    node: str = ""

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED

    @property
    def waits(self) -> bool:
        """Whether the job holds no node, and will."""
        return self.state in WAITING

    @property
    def words(self) -> str:
        return f"{self.state} ({self.reason})" if self.reason not in ("", "None") else self.state


class Answer(NamedTuple):
    """What squeue said of jobs; one that it does not know is left out. problem: why it said nothing, else ''."""

    states: Mapping[str, JobState] = MappingProxyType({})
    problem: str = ""


class Partition(NamedTuple):
    """minutes: the longest time of a job; None for no limit."""

    name: str
    minutes: float | None


def job_states(jobs: Collection[str]) -> Answer:
    """Ask Slurm now, for at most PATIENCE_SECONDS."""
    if not jobs:
        return Answer()
    try:
        said = _run(["squeue", "-h", "-r", "-t", "all", "-o", "%i|%T|%r|%N", "-j", ",".join(sorted(jobs))])
    except ClusterError as error:
        # One of several that it does not know is left out; where it knows none, it says so.
        return Answer() if "Invalid job id" in str(error) else Answer(problem=str(error))
    lines = [line.split("|") for line in said.splitlines()]
    return Answer({line[0]: JobState(*line[1:]) for line in lines if len(line) == 4})


def partitions() -> dict[str, Partition]:
    """Raises ClusterError when Slurm gives no answer."""
    lines = [line.split("|") for line in _run(["sinfo", "-h", "-o", "%R|%l"]).splitlines()]
    return {line[0]: Partition(line[0], _minutes(line[1])) for line in lines if len(line) == 2}


def call_back(job: str) -> None:
    """Cancel a job; one that has ended, or that Slurm knows no more, needs it not. Raises ClusterError when it gives no
    answer."""
    try:
        _run(["scancel", job])
    except ClusterError as error:
        if "Invalid job id" not in str(error) and "already completing or completed" not in str(error):
            raise


def queue_again(job: str) -> None:
    """For a job that runs: end it, and queue it again under its number. Raises ClusterError where that cannot be."""
    _run(["scontrol", "requeue", job], patience=60.0)


class Watch:
    """What Slurm said last, for screens that look every two seconds: it is asked by a thread, for all of them at once,
    and nobody waits longer than `patience` for what was not asked before. Where it says nothing, what it said last
    stands beside the problem."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted: dict[str, float] = {}
        self._asked: frozenset[str] = frozenset()
        self._answer = Answer()
        self._at = float("-inf")
        self._thread: threading.Thread | None = None

    def states(self, jobs: Collection[str], *, patience: float = 1.0) -> Answer:
        until = time.monotonic() + patience
        # A question that was under way already is not about jobs that are new.
        while (asking := self._asking(jobs)) is not None and (left := until - time.monotonic()) > 0:
            asking.join(left)
        with self._lock:
            if not self._answer.problem and not self._asked.issuperset(jobs):
                return Answer(self._answer.states, "Slurm was asked and has not answered yet.")
            return self._answer

    def _asking(self, jobs: Collection[str]) -> threading.Thread | None:
        """Ask where it is time to; who is to be waited for, None where these jobs were asked for before."""
        now = time.monotonic()
        with self._lock:
            self._wanted |= dict.fromkeys(jobs, now)
            new = not self._asked.issuperset(jobs)
            old = now - self._at > (LATER_SECONDS if self._answer.problem else KEPT_SECONDS)
            if jobs and (old or (new and not self._answer.problem)) and not (self._thread and self._thread.is_alive()):
                self._thread = threading.Thread(target=self._ask, daemon=True)
                self._thread.start()
            return self._thread if new and self._thread and self._thread.is_alive() else None

    def _ask(self) -> None:
        with self._lock:
            soon = time.monotonic() - 60
            self._wanted = {job: at for job, at in self._wanted.items() if at > soon}
            jobs = frozenset(self._wanted)
        answer = job_states(jobs)
        with self._lock:
            if answer.problem:
                answer = answer._replace(states=self._answer.states)
            self._answer, self._asked, self._at = answer, jobs, time.monotonic()


def _run(command: list[str], *, patience: float = PATIENCE_SECONDS) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=patience, stdin=subprocess.DEVNULL)
    except FileNotFoundError as error:
        raise ClusterError(
            f"{command[0]} is not installed here: start the workbench on a machine from which Slurm's jobs are sent."
        ) from error
    except subprocess.TimeoutExpired as error:
        raise _silent(f"{command[0]}, {patience:g} s") from error
    except OSError as error:
        raise ClusterError(f"{command[0]} cannot be started: {error.strerror}.") from error
    if done.returncode != 0 and any(words in done.stderr for words in _OUT_OF_REACH):
        raise _silent(slurm_words(done.stderr))
    if done.returncode != 0:
        raise ClusterError(f"Slurm says: {slurm_words(done.stderr) or f'{command[0]} failed'}.")
    return done.stdout


def _silent(how: str) -> ClusterError:
    return ClusterError(
        f"Slurm gives no answer ({how}): its controller may be down. Jobs under way go on; try again later, or train "
        "on this machine."
    )


def slurm_words(text: str) -> str:
    """The last thing that one of Slurm's commands complained of, without its own name."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    last = lines[-1] if lines else ""
    return last.split("error:", 1)[-1].strip().rstrip(".")[:300]


def _minutes(limit: str) -> float | None:
    """'2-00:00:00', '1:00:00' or '30:00'; None for 'infinite' and what is none of them."""
    days, _, clock = limit.rpartition("-")
    try:
        parts = [int(part) for part in clock.split(":")]
        hours, minutes, seconds = [0] * (3 - len(parts)) + parts
        return 1440 * int(days or 0) + 60 * hours + minutes + seconds / 60
    except ValueError:
        return None
