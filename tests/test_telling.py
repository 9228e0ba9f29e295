"""Those who wait are told by a real listener and a real command; whoever hangs or refuses delays no run."""

import json
import logging
import socket
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from making import wait_for
from making_runs import write_run

from engine import telling
from engine.records.errors import NoticeError
from engine.records.events import Alert, NoticeResult, StatusEvent, StepResult
from engine.records.notices import notices_file, read_targets
from engine.telling import Teller

SECRET = "very-secret-part"


class Listener:
    """A local address that keeps what is posted to it, and answers with `status`."""

    def __init__(self) -> None:
        self.heard: list[tuple[dict, dict]] = []
        self.status = 200
        self.leads_to = ""
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                listener.heard.append((content, dict(self.headers)))
                self.send_response(listener.status)
                if listener.leads_to:
                    self.send_header("Location", listener.leads_to)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/{SECRET}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "PAUSES", (0.05, 0.05))
    monkeypatch.setattr(telling, "SECONDS", 0.5)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def listener() -> Iterator[Listener]:
    one = Listener()
    yield one
    one.server.shutdown()
    one.server.server_close()


@pytest.fixture
def hanging() -> Iterator[str]:
    """An address that takes a connection and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/{SECRET}"


def told(teller: Teller, run) -> list[NoticeResult]:
    for thread in teller._threads:
        thread.join()
    teller.write_down()
    return [event for event in run.events()[0] if isinstance(event, NoticeResult)]


def test_a_listener_is_told_of_ends_failures_and_alerts_of_two_runs_and_of_nothing_else(settings, listener):
    notices_file(settings).write_text(f'[phone]\nurl = "{listener.url}"\n')
    first, second = write_run(settings, name="first"), write_run(settings, name="second")
    seen: list[str] = []
    teller = Teller(settings, watch=lambda run_id, _: seen.append(run_id))
    teller.see(first.id, StatusEvent(status="running"))
    teller.see(first.id, StatusEvent(status="paused"))
    teller.see(first.id, first_step())
    teller.see(first.id, StatusEvent(status="finished", step=20))
    teller.see(second.id, StatusEvent(status="failed", step=3, message="No memory."))
    teller.see(second.id, Alert(step=2, message="The loss rises.", advice="Lower the rate."))
    (result,) = told(teller, first)
    assert result.told and result.message == "Told 'phone' that the run is finished."
    assert len(told(teller, second)) == 2 and len(seen) == 6
    found = sorted((content["name"], content["what"], content["text"]) for content, _ in listener.heard)
    assert found == [
        ("first", "ends", "At step 20."),
        ("second", "alert", "The loss rises. Lower the rate."),
        ("second", "fails", "At step 3. No memory."),
    ]


def test_an_address_that_leads_on_to_another_is_not_followed(settings, listener, monkeypatch):
    """What is posted would be lost on the way, and the token told to another."""
    monkeypatch.setenv("HOOK_TOKEN", "token-of-the-hook")
    other = Listener()
    listener.status, listener.leads_to = 302, other.url
    notices_file(settings).write_text(f'[phone]\nurl = "{listener.url}"\nbearer_env = "HOOK_TOKEN"\n')
    run, teller = write_run(settings), Teller(settings)
    teller.see(run.id, StatusEvent(status="finished", step=20))
    (result,) = told(teller, run)
    other.server.shutdown()
    other.server.server_close()
    assert not result.told and "it answered 302" in result.message and not other.heard


def test_when_and_a_token_of_the_environment_are_kept_to(settings, listener, monkeypatch):
    monkeypatch.setenv("HOOK_TOKEN", "token-of-the-hook")
    table = f'[phone]\nurl = "{listener.url}"\nbearer_env = "HOOK_TOKEN"\nwhen = ["fails"]\n'
    notices_file(settings).write_text(table)
    run, teller = write_run(settings), Teller(settings)
    teller.see(run.id, StatusEvent(status="finished", step=20))
    teller.see(run.id, StatusEvent(status="interrupted", step=4))
    assert len(told(teller, run)) == 1
    ((content, headers),) = listener.heard
    assert content["status"] == "interrupted" and headers["Authorization"] == "Bearer token-of-the-hook"


def test_one_that_hangs_and_one_that_refuses_delay_nothing_and_the_log_keeps_their_secret(
    settings, hanging, listener, caplog
):
    caplog.set_level(logging.INFO)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}/{SECRET}"
    listener.status = 500
    tables = {"slow": hanging, "gone": closed, "broken": listener.url}
    notices_file(settings).write_text("".join(f'[{name}]\nurl = "{url}"\n' for name, url in tables.items()))
    run, teller = write_run(settings), Teller(settings)
    began = time.monotonic()
    teller.see(run.id, StatusEvent(status="finished", step=20))
    teller.write_down()
    assert time.monotonic() - began < 0.4
    said = {result.target: result.message for result in told(teller, run)}
    about = "could not be told that the run is finished"
    assert said["slow"] == f"'slow' {about}: it did not answer within 0.5 s after 3 tries."
    assert said["gone"] == f"'gone' {about}: connection refused after 3 tries."
    assert said["broken"] == f"'broken' {about}: it answered 500 after 3 tries."
    assert len(listener.heard) == 3
    assert SECRET not in caplog.text and SECRET not in run.events_file.read_text()


def test_a_command_gets_its_words_and_the_message_and_no_shell_reads_them(settings, tmp_path):
    script = f"import sys, pathlib; pathlib.Path({str(tmp_path / 'out')!r}).write_text(sys.argv[1] + sys.stdin.read())"
    command = json.dumps([sys.executable, "-c", script, "{title}"])
    notices_file(settings).write_text(f"[bell]\ncommand = {command}\n[wrong]\ncommand = ['/no/such/program']\n")
    run, teller = write_run(settings, name="$(touch x); {text}"), Teller(settings)
    teller.see(run.id, StatusEvent(status="finished", step=20))
    said = {result.target: result.message for result in told(teller, run)}
    assert said["bell"].startswith("Told 'bell'")
    assert said["wrong"].endswith("the command cannot be run: No such file or directory.")
    written = (tmp_path / "out").read_text()
    assert written.startswith("$(touch x); {text}: finished{") and '"status": "finished"' in written


def test_a_wrong_file_says_what_is_wrong_without_its_secrets_and_fails_nothing(settings):
    run, teller = write_run(settings), Teller(settings)
    for content, said in (
        ("[phone", "cannot be read as TOML"),
        (f'url = "{SECRET}"', "'url' stands outside a table"),
        (f'[phone]\nurl = "ftp://{SECRET}"', r"\[phone\]: url"),
        (f'[phone]\nurl = "http://{SECRET}"\ncommand = ["x"]', "give it a url or a command"),
        ('[phone]\nurl = "http://x"\nevery = 3', "every"),
    ):
        notices_file(settings).write_text(content)
        with pytest.raises(NoticeError, match=said) as error:
            read_targets(settings)
        assert SECRET not in str(error.value)
        teller.see(run.id, StatusEvent(status="finished", step=20))
    assert len(told(teller, run)) == 5 and not any(result.told for result in told(teller, run))


def test_a_run_that_trains_tells_at_its_end_and_its_log_says_so(settings, tiny_spec, listener):
    from engine.desk.lock import owned
    from engine.desk.queue import Queue
    from engine.records.runs import create_run
    from engine.worker import Worker

    notices_file(settings).write_text(f'[phone]\nurl = "{listener.url}"\n')
    run = create_run(settings.runs, tiny_spec(**{"optimizer.steps": 2}), name="told")
    Queue(settings.desk).submit("train", run_id=run.id)
    with owned(settings):
        Worker(settings).serve(until=lambda: run.record().status == "finished")
    wait_for(lambda: listener.heard, what="the listener")
    assert listener.heard[0][0]["title"] == "told: finished"
    assert [event.message for event in run.events()[0] if isinstance(event, NoticeResult)] == [
        "Told 'phone' that the run is finished."
    ]


def test_a_run_whose_worker_died_is_told_by_the_next_worker(settings, listener):
    from engine.desk.lock import owned
    from engine.worker import Worker

    notices_file(settings).write_text(f'[phone]\nurl = "{listener.url}"\n')
    run = write_run(settings, name="left behind")
    run.update(status="running")
    with owned(settings):
        Worker(settings).serve(until=lambda: True)
    assert [content["title"] for content, _ in listener.heard] == ["left behind: interrupted"]


def first_step() -> StepResult:
    return StepResult(
        step=0, reroute_loss=1, retain_loss=0, reroute_weight=1, retain_weight=0, loss=1, gradient_norm=1,
        learning_rate=1, tokens=10, seconds=2.0,
    )  # fmt: skip


def test_a_file_of_notices_that_is_named_and_not_there_is_said(settings, monkeypatch):
    assert read_targets(settings) == {}
    monkeypatch.setenv("WORKBENCH_NOTICES", str(settings.runs / "mistyped.toml"))
    with pytest.raises(NoticeError, match=r"WORKBENCH_NOTICES names mistyped\.toml, which is not there"):
        read_targets(settings)
