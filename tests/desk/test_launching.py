"""A worker is started where there is none, and not beside one that has only lost its folder."""

import os
import threading
import time

from engine.desk import launch
from engine.desk.launch import ensure_worker, team_options
from engine.desk.lock import owned
from engine.desk.queue import Queue


def test_who_holds_the_lock_and_says_in_a_moment_that_it_lives_is_the_worker(settings, monkeypatch):
    monkeypatch.setattr(launch.subprocess, "Popen", lambda *_, **__: pytest_fail())
    queue = Queue(settings.desk)

    def says_so() -> None:
        time.sleep(0.3)
        queue.beat(status="running", pid=os.getpid(), started=time.time())

    with owned(settings):
        late = threading.Thread(target=says_so)
        late.start()
        found = ensure_worker(settings)
        late.join()
    assert (found.pid, found.status) == (os.getpid(), "running")


def test_where_nobody_says_so_one_is_started(settings, monkeypatch):
    started = []

    class Started:
        pid = os.getpid()

        def __init__(self, command, **_):
            started.append(command)

    monkeypatch.setattr(launch.subprocess, "Popen", Started)
    monkeypatch.setattr(launch, "_started", [])
    monkeypatch.setattr(launch, "LOST_SECONDS", 0.2)
    with owned(settings):
        ensure_worker(settings)
    (settings.desk / "worker.json").unlink(missing_ok=True)
    ensure_worker(settings)
    assert len(started) == 2 and all("worker" in command for command in started)


def test_a_worker_is_begun_again_with_as_many_processes_also_where_that_was_one():
    assert team_options({"device": "cuda", "processes": 1, "shares": 1}) == ["--processes", "1"]
    assert team_options({"processes": 2, "shares": 2}) == ["--processes", "2", "--sharded"]
    assert team_options({}) == []


def pytest_fail() -> None:
    raise AssertionError("a second worker was started")
