"""Several processes as one worker: starting them, and what all but the first one do. Knows nothing of jobs.

`torchrun` and `accelerate launch` start them all; else the first one starts the others. The first one alone has the
queue and writes records.
"""

import logging
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path

import torch
from torch import distributed

from engine.compute.processes import PATIENCE_SECONDS, Team
from engine.compute.team import join, leave
from engine.records.errors import WorkerError
from engine.records.settings import ROOT, Settings, process_count

log = logging.getLogger("workbench.worker")

# What launchers say of a process, and where it finds the others.
PLACE = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
STORE = "WORKBENCH_TEAM_STORE"
# Loading the libraries may take long where many start at once.
START_SECONDS = 300.0
END_SECONDS = 10.0


def is_follower() -> bool:
    """Whether this process was started as another one than the first of a team."""
    return int(os.environ.get("RANK", "0")) > 0


def follow(*, sharded: bool = False) -> None:
    """Be one of a team, until its first process is gone."""
    if os.environ.get(STORE):
        threading.Thread(target=_end_with_parent, daemon=True).start()
    with _joined(sharded=sharded) as team:
        team.follow()


@contextmanager
def teamed(settings: Settings, processes: int | None = None, *, sharded: bool = False) -> Iterator[Team | None]:
    """Inside, this process is the first of its team: of what a launcher started, else of `processes` that are started
    here (None: as many as WORKBENCH_PROCESSES says, else one for each GPU). None where it stays alone.

    Raises WorkerError when they do not find together.
    """
    if not processes and (text := os.environ.get("WORKBENCH_PROCESSES")):
        processes = process_count(text)
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    count = launched if launched > 1 else processes or max(1, torch.cuda.device_count())
    if count == 1:
        yield None
        return
    if launched == 1 and processes and torch.cuda.is_available() and processes > torch.cuda.device_count():
        raise WorkerError(
            f"{processes} processes need a GPU each, and this machine has {torch.cuda.device_count()}: ask for fewer."
        )
    with tempfile.TemporaryDirectory(prefix="workbench-team-") as folder:
        followers = [] if launched > 1 else _start_followers(settings, count, Path(folder), sharded=sharded)
        try:
            with _joined(sharded=sharded, on_node=bool(settings.own_desk)) as team:
                yield team
        finally:
            _end_followers(followers)


def _start_followers(settings: Settings, count: int, folder: Path, *, sharded: bool) -> list[subprocess.Popen]:
    """The other processes of this machine. Their input is a pipe of this one: it ends when this one does."""
    # On one machine they talk over the loopback alone.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo" if sys.platform == "linux" else "lo0")
    os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ |= {STORE: str(folder / "store"), "WORLD_SIZE": str(count), "RANK": "0", "LOCAL_RANK": "0"}
    command = [sys.executable, "-m", "engine", "worker", "--runs", str(settings.runs), *(["--sharded"] * sharded)]
    return [
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORKBENCH_CACHE": str(settings.cache)},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        for rank in range(1, count)
    ]


def _end_followers(followers: list[subprocess.Popen]) -> None:
    for process in followers:
        with suppress(OSError):
            process.stdin.close()  # type: ignore[union-attr]
    for process in followers:
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _end_with_parent() -> None:
    """A process that hangs in the midst of a message to one that is gone would stay for ever."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    threading.Event().wait(END_SECONDS / 2)
    os._exit(1)


@contextmanager
def _joined(*, sharded: bool, on_node: bool = False) -> Iterator[Team]:
    """This process in its team, by what its environment says of it; children of this process are not told. on_node: a
    cluster's job that has one run to itself."""
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    patience = float(os.environ.get("WORKBENCH_PATIENCE_SECONDS", PATIENCE_SECONDS))
    device = None
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", rank)))
        device = torch.device("cuda")
        if not sharded:
            # Without it a process that waits for one that died is ended from outside, with all that it has learned.
            os.environ.setdefault("TORCH_NCCL_BLOCKING_WAIT", "1")
    try:
        store = os.environ.get(STORE)
        distributed.init_process_group(
            "cuda:nccl,cpu:gloo" if device else "gloo",
            init_method=f"file://{store}" if store else "env://",
            rank=rank,
            world_size=size,
            timeout=timedelta(seconds=START_SECONDS),
        )
        group = distributed.new_group(timeout=timedelta(seconds=patience))
        connections = _accepted(size) if rank == 0 else [_connected(rank)]
    except (RuntimeError, OSError, ValueError) as error:
        raise WorkerError(
            f"Process {rank + 1} of {size} did not find the others: {error} Start the worker again, or with "
            "--processes 1."
        ) from error
    finally:
        for name in (*PLACE, STORE):
            os.environ.pop(name, None)
    team = Team(rank, size, connections, device, group=group, sharded=sharded, on_node=on_node, patience=patience)
    threads = torch.get_num_threads()
    if device is None:
        # Busy processes whose threads are more than the cores slow each other many times over.
        torch.set_num_threads(max(1, min(threads, _cores() // size)))
    join(team)
    log.info("process %d of %d", rank + 1, size)
    try:
        yield team
    finally:
        leave()
        torch.set_num_threads(threads)
        for connection in connections:
            connection.close()
        # On GPUs the end would wait for those that are gone; this process then ends too.
        if not team.broken or device is None:
            distributed.destroy_process_group()


def _cores() -> int:
    """That this job may use: on a shared node fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _accepted(size: int) -> list[Connection]:
    """Of the first process: one connection to each other, by rank."""
    with tempfile.TemporaryDirectory(prefix="workbench-team-") as folder:
        key = secrets.token_bytes(32)
        with Listener(str(Path(folder) / "socket"), "AF_UNIX", backlog=size, authkey=key) as listener:
            distributed.broadcast_object_list([listener.address, key, socket.gethostname()])
            found = [listener.accept() for _ in range(1, size)]
        by_rank = {int.from_bytes(connection.recv_bytes()): connection for connection in found}
    return [by_rank[rank] for rank in sorted(by_rank)]


def _connected(rank: int) -> Connection:
    place: list = [None, None, None]
    distributed.broadcast_object_list(place)
    address, key, host = place
    if host != socket.gethostname():
        raise ValueError(f"the first process is on {host}, this one on {socket.gethostname()}: one machine is needed.")
    connection = Client(address, "AF_UNIX", authkey=key)
    connection.send_bytes(rank.to_bytes(4))
    return connection
