"""`python -m engine worker`: serve a runs folder until told to end, with as many processes as there are GPUs."""

import argparse
import logging
import os
import signal
from contextlib import suppress

import psutil

from engine.desk.lock import owned
from engine.desk.on_node import GO, TIME_IS_UP, hear
from engine.records.errors import WorkerError
from engine.records.leftovers import remove_leftovers
from engine.records.settings import Settings, process_count

log = logging.getLogger("workbench.worker")

# What tells a process to end, and to close first what is under way.
TO_END = (GO, TIME_IS_UP, signal.SIGINT)


def add_team(command: argparse.ArgumentParser) -> None:
    """The options of all that may take several processes."""
    command.add_argument(
        "--processes",
        type=_count,
        metavar="N",
        help="as many work at each thing together (default: WORKBENCH_PROCESSES, else one for each GPU)",
    )
    command.add_argument("--sharded", action="store_true", help="each process holds a share of the model's weights")


def leave_signals_to_the_first() -> None:
    """A launcher, or Slurm, tells all processes of a team that they have to go. The first one still needs the others to
    close what is under way; they end with it."""
    if int(os.environ.get("RANK", "0")):
        for kind in TO_END:
            signal.signal(kind, signal.SIG_IGN)


def serve(settings: Settings, *, processes: int | None = None, sharded: bool = False) -> str:
    """Run a worker until a signal says that it has to go, and return why it gave up before, '' where it did not. It
    gives way to the app: its priority is lower.

    processes: as many work at each thing together, None: one for each GPU.  sharded: each holds a share of the weights.
    Raises WorkerError where another worker has the runs folder, or the processes do not find together.
    """
    from engine.ranks import follow, is_follower, teamed
    from engine.worker import Worker

    if is_follower():
        follow(sharded=sharded)
        return ""
    with owned(settings), teamed(settings, processes, sharded=sharded):
        with suppress(OSError, psutil.Error):
            psutil.Process().nice(getattr(psutil, "BELOW_NORMAL_PRIORITY_CLASS", 5))
        remove_leftovers(settings)
        worker = Worker(settings)
        hear(dict.fromkeys(TO_END, lambda *_: worker.ending.set()))
        log.info("worker %d serves %s", os.getpid(), settings.runs)
        worker.serve()
        log.info("worker %d ended", os.getpid())
        return worker.reason


def _count(text: str) -> int:
    try:
        return process_count(text)
    except WorkerError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
