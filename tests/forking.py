"""Real processes without the wait for their libraries: a fork server has them loaded, and what is asked of it begins
within milliseconds, with the folder, environment, input and outputs that it would have had otherwise.

As a script, `serve SOCKET KIND` is such a server, until its standard input closes; `python SOCKET -m engine worker ...`
stands in for the interpreter: it has that server begin the worker and ends as it does. So it is with a foreground
training and with what a cluster's job does on its node.
"""

import atexit
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

LOADED = {
    "engine": ("engine.__main__", "engine.worker", "peft", "transformers.models.llama.modeling_llama"),
    "streamlit": ("streamlit.web.cli", "uvicorn", "plotly.graph_objects", "workbench"),
}
INTERPRETER = "WORKBENCH_TEST_INTERPRETER"
STOOD_IN_FOR = ("worker", "train", "on-node")
# What a stand-in passes on.
SENT_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)


class Forked:
    """A process that a fork server began, with what tests ask of a `subprocess.Popen`."""

    def __init__(
        self,
        server: str,
        arguments: list[str],
        *,
        outputs: tuple[int, int],
        environment: Mapping[str, str],
        input: int | None = None,
        held: Collection[int] = (),
    ) -> None:
        """held: signals that wait until the process wants to hear them."""
        self._told = socket.socket(socket.AF_UNIX)
        self._told.connect(server)
        with open(os.devnull) as nothing:
            socket.send_fds(self._told, [b"+"], [nothing.fileno() if input is None else input, *outputs])
        self._told.sendall(json.dumps([arguments, os.getcwd(), dict(environment), list(held)]).encode() + b"\n")
        self._lines = b""
        self.pid = self._read(None) or 0
        self.returncode: int | None = None

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            code = self._read(timeout)
            if code is None:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            self.returncode = code
            self._told.close()
        return self.returncode

    def terminate(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, 15)

    def _read(self, timeout: float | None) -> int | None:
        while b"\n" not in self._lines:
            if not select.select([self._told], [], [], timeout)[0]:
                return None
            more = self._told.recv(64)
            assert more, "the fork server has ended"
            self._lines += more
        line, _, self._lines = self._lines.partition(b"\n")
        return int(line)


@cache
def fork_server(kind: str) -> str:
    """The socket of this process's server of a kind. The server ends with this process, which holds its input open."""
    folder = tempfile.mkdtemp(prefix="forks-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = f"{folder}/{kind}"
    server = subprocess.Popen(
        [sys.executable, __file__, "serve", path, kind],
        cwd=Path(__file__).parents[1],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert server.stdout and server.stdout.readline() == b"ready\n"
    _servers.append(server)
    return path


@cache
def interpreter() -> str:
    """What the app takes for Python when it starts a worker."""
    server = fork_server("engine")
    script = Path(server).with_name("python")
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{__file__}" python "{server}" "$@"\n')
    script.chmod(0o700)
    return str(script)


def engine(*arguments: str) -> subprocess.CompletedProcess:
    """`python -m engine ...`, run to its end."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        code = forked(*arguments, outputs=(output.fileno(), errors.fileno())).wait(280)
        output.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(arguments, code, output.read(), errors.read())


def forked(*arguments: str, outputs: tuple[int, int] = (1, 2)) -> Forked:
    """`python -m engine ...`, begun."""
    return Forked(fork_server("engine"), list(arguments), outputs=outputs, environment=os.environ)


def forked_app(arguments: list[str], *, output: int, environment: Mapping[str, str]) -> Forked:
    """`streamlit ...`, whose worker is forked too."""
    seen = {**environment, INTERPRETER: interpreter()}
    return Forked(fork_server("streamlit"), arguments, outputs=(output, output), environment=seen)


_servers: list[subprocess.Popen] = []


def _stand_in(server: str, arguments: list[str]) -> None:
    asked = arguments[1:] if arguments[:1] == ["-u"] else arguments
    if asked[:2] != ["-m", "engine"] or not set(asked[2:3]) & set(STOOD_IN_FOR):
        os.execv(sys.executable, [sys.executable, *arguments])
    held = signal.pthread_sigmask(signal.SIG_BLOCK, SENT_ON)
    worker = Forked(server, asked[2:], outputs=(1, 2), environment=os.environ, input=0, held=held)
    # Whoever started it knows this process alone.
    for kind in SENT_ON:
        signal.signal(kind, lambda number, _frame: os.kill(worker.pid, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SENT_ON)
    code = worker.wait()
    sys.exit(code if code >= 0 else 128 - code)


def _serve(path: str, kind: str) -> None:
    """Serve until standard input closes. Returns in each child, once that has taken over what was asked for."""
    for name in LOADED[kind]:
        module = importlib.import_module(name)
        for part in pkgutil.walk_packages(module.__path__, "workbench.") if name == "workbench" else ():
            # The script itself would draw a page.
            if part.name != "workbench.app":
                importlib.import_module(part.name)
    # It runs as the main module in each child, and warns of a second one.
    sys.modules.pop("engine.__main__", None)
    gc.freeze()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    print("ready", flush=True)
    children: dict[int, socket.socket] = {}
    while True:
        # A child that has ended is asked for soon: as a zombie it would look alive.
        ready, _, _ = select.select([listener, sys.stdin], [], [], 0.02 if children else None)
        if sys.stdin in ready:
            os._exit(0)
        if listener in ready:
            asked, _ = listener.accept()
            _, streams, _, _ = socket.recv_fds(asked, 1, 3)
            # None reaches a child before it holds back what it was asked to.
            signal.pthread_sigmask(signal.SIG_BLOCK, SENT_ON)
            pid = os.fork()
            if pid == 0:
                request = json.loads(asked.makefile().readline())
                for other in (listener, asked, *children.values()):
                    other.close()
                _become(*request, streams=streams)
                return
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SENT_ON)
            for stream in streams:
                os.close(stream)
            children[pid] = asked
            _tell(asked, pid)
        for pid in list(children):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                told = children.pop(pid)
                _tell(told, os.waitstatus_to_exitcode(status))
                told.close()
            elif _is_gone(children[pid]):
                # Whoever began it, or stands in for it, was killed.
                os.kill(pid, signal.SIGKILL)


def _is_gone(told: socket.socket) -> bool:
    with suppress(BlockingIOError):
        return told.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    return False


def _tell(told: socket.socket, number: int) -> None:
    with suppress(OSError):
        told.sendall(f"{number}\n".encode())


def _become(
    arguments: list[str], folder: str, environment: dict[str, str], held: list[int], *, streams: list[int]
) -> None:
    os.setsid()
    signal.pthread_sigmask(signal.SIG_SETMASK, held)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.argv[1:] = arguments


if __name__ == "__main__":
    if sys.argv[1] == "python":
        _stand_in(sys.argv[2], sys.argv[3:])
    kind = sys.argv[3]
    _serve(sys.argv[2], kind)
    # A child from here on.
    # For itself alone, not for what it begins in turn.
    sys.executable = os.environ.pop(INTERPRETER, sys.executable)
    if kind == "engine":
        runpy.run_module("engine", run_name="__main__", alter_sys=True)
    else:
        runpy.run_module("streamlit", run_name="__main__", alter_sys=True)
