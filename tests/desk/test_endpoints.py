"""What endpoints leave behind: that of a killed one is swept, by the next one and by the app, that of a living one is
not."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from engine.desk.endpoints import endpoint_name, sweep_endpoints
from engine.desk.queue import Queue
from engine.records.chats.asked import Column
from engine.records.conversation import Conversation
from engine.records.served import ServedRequest, new_served, requests_folder
from engine.records.settings import ROOT
from engine.records.spec_parts import ModelSpec
from workbench import sidebar
from workbench.kit import state

# An endpoint that holds its name until it is killed, and says it.
ENDPOINT = """
import sys, time
from engine.desk.endpoints import endpoint_name
from engine.records.settings import read_settings
with endpoint_name(read_settings(sys.argv[1])) as name:
    print(name, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def endpoints(settings) -> Iterator[list[tuple[str, subprocess.Popen]]]:
    """Two living endpoints in processes of their own, with their names."""
    command = [sys.executable, "-c", ENDPOINT, str(settings.runs)]
    processes = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    yield [(process.stdout.readline().strip(), process) for process in processes]
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def ask(settings, endpoint: str) -> int:
    request = ServedRequest(
        model=ModelSpec(), column=Column(checkpoint="base"), conversation=Conversation.asking("something private")
    )
    served = new_served(settings, request, endpoint=endpoint)
    return Queue(settings.desk).submit("serve_answer", payload={"served": served.place})


def kept(settings) -> set[str]:
    return {path.parents[1].name for path in requests_folder(settings).glob("*/*/request.json")}


def test_the_next_endpoint_sweeps_what_a_killed_one_left_and_nothing_of_a_living_one(settings, endpoints):
    (dead, process), (alive, _) = endpoints
    jobs = {name: ask(settings, name) for name in (dead, alive)}
    sweep_endpoints(settings)
    assert kept(settings) == {dead, alive}
    process.kill()
    process.wait()
    with endpoint_name(settings) as own:
        ask(settings, own)
        assert kept(settings) == {alive, own}
        status = {name: Queue(settings.desk).job(job).status for name, job in jobs.items()}
        assert status == {dead: "cancelled", alive: "queued"}
    assert kept(settings) == {alive}
    assert [file.stem for file in requests_folder(settings).glob("*.lock")] == [alive]


def test_the_app_sweeps_as_it_starts(settings, endpoints, monkeypatch):
    monkeypatch.setattr(sidebar, "ensure_worker", lambda _: None)
    (dead, process), (alive, _) = endpoints
    for name in (dead, alive):
        ask(settings, name)
    process.kill()
    process.wait()
    state.settings.cache_clear()
    sidebar._start_worker_once(str(settings.runs))
    state.settings.cache_clear()
    assert kept(settings) == {alive}


def test_a_sweep_of_a_folder_that_served_nothing_leaves_no_trace(settings):
    sweep_endpoints(settings)
    assert not requests_folder(settings).exists()
