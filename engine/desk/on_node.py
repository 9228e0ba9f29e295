"""The first thing that a cluster's job does on its node: become a process of the workbench. Knows nothing of Slurm.

submitit keeps this function's name and its arguments in a pickle file, which it reads on the node; nothing else of the
workbench is ever in one.
"""

import os
import signal
import sys
from collections.abc import Mapping, Sequence

# What Slurm says shortly before the time is up, and when a job has to go.
GO = signal.SIGTERM
# Where a system has no such signal there is no Slurm either.
TIME_IS_UP = getattr(signal, "SIGUSR2", GO)
# Whoever paused it resumes it: the next start of the job leaves such a run alone.
PAUSED = "Its job left the node while it was paused: resume it, on its cluster or here."


def begin(arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """Replace this process by `python -m engine ARGUMENTS`.

    Signals are held back meanwhile, and wait until the new process is ready to hear them: by default they would end it.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {TIME_IS_UP, GO})
    command = [sys.executable, "-u", "-m", "engine", *arguments]
    os.execve(sys.executable, command, os.environ | dict(environment))


def hear(handlers: Mapping[signal.Signals, "signal._HANDLER"]) -> None:
    """From here on signals are heard; one that came since `begin` is heard now."""
    for kind, handler in handlers.items():
        signal.signal(kind, handler)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, set(handlers))
