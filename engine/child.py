"""Child processes for steps that cannot be divided: one with one thread for fitting a map or probing every block, and
commands that are run to their end.

The first starts on first use, loads its libraries once, and is started again if it dies. Jobs wait for either without
holding the worker's loop. Knows nothing of what they compute.
"""

import importlib
import multiprocessing
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from engine.records.errors import ComputeError
from engine.records.events import Progress
from engine.records.progress import loading, said

_pool: ProcessPoolExecutor | None = None


def in_child(
    function: str, *arguments: Any, phase: str, message: str, progress: Path | None = None
) -> Generator[Progress, None, Any]:
    """Run a function, given as 'module.name', in the child and return what it returns; yields 'waiting' until then.

    By name, so that the worker itself never loads that module and its libraries.

    progress: a file into which the function writes how far it is; until it does, the child is loading its
    libraries, and how far it is with these is an estimate by time.  Raises ComputeError when the child dies.
    """
    pool, future = _begun(function, arguments)
    started = time.monotonic()
    last: Progress | None = None
    try:
        while True:
            while not future.done():
                last = said(progress) or last
                shown = last or loading(message, time.monotonic() - started)
                yield shown.model_copy(update={"phase": phase, "elsewhere": True})
            try:
                return future.result()
            except (BrokenProcessPool, CancelledError) as error:
                if pool is _pool:
                    end_child()
                    raise ComputeError(
                        "The process that fits maps ended (out of memory?): try again with fewer prompts."
                    ) from error
                # Another job was cancelled, and the child with it: this one begins again in the next child.
                pool, future = _begun(function, arguments)
    finally:
        if not future.cancel() and not future.done():
            # Nobody waits for it any more, and the next map would.
            _kill_child()
        if progress is not None:
            progress.unlink(missing_ok=True)


def run_to_end(
    command: Sequence[str], tell: Callable[[], Progress], *, environment: Mapping[str, str], folder: Path | None = None
) -> Generator[Progress, None, tuple[int, list[str]]]:
    """Run a command in `folder`; yields what `tell` says until it ends, and returns its exit code and the lines that it
    printed. Closing the generator ends the command."""
    with tempfile.TemporaryFile() as output:
        child = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            while child.poll() is None:
                yield tell()
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
        output.seek(0)
        return child.returncode, output.read().decode(errors="replace").strip().splitlines()


def _kill_child() -> None:
    for process in list(getattr(_pool, "_processes", None) or ()):
        with suppress(psutil.NoSuchProcess):
            psutil.Process(process).kill()
    end_child()


def end_child() -> None:
    """The child ends with the worker."""
    global _pool
    if _pool is not None:
        _pool.shutdown(wait=False, cancel_futures=True)
        _pool = None


def warm() -> None:
    """Load what maps need; in the child."""
    import sklearn.linear_model  # noqa: F401
    import umap  # noqa: F401


def _call(function: str, arguments: tuple[Any, ...]) -> Any:
    module, _, name = function.rpartition(".")
    return getattr(importlib.import_module(module), name)(*arguments)


def _begun(function: str, arguments: tuple[Any, ...]) -> tuple[ProcessPoolExecutor, Future[Any]]:
    """In the child, or in a new one where that died while it had nothing to do."""
    try:
        return (pool := _executor()), pool.submit(_call, function, arguments)
    except BrokenProcessPool:
        end_child()
        return (pool := _executor()), pool.submit(_call, function, arguments)


def _executor() -> ProcessPoolExecutor:
    global _pool
    if _pool is None:
        _pool = ProcessPoolExecutor(
            1, mp_context=multiprocessing.get_context("spawn"), initializer=_begin, initargs=(os.getpid(),)
        )
    return _pool


def _begin(parent: int) -> None:
    """One thread, since the worker's own and these would slow each other down many times over; and no life after the
    worker's, even when that was killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
