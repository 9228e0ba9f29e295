"""A user's first quarter of an hour, in a real browser against the real server and the real worker."""

import json
import os
import re
import signal
import socket
import time
from pathlib import Path

import pytest
import streamlit
from graphs import ask, asked, drag, place
from making import wait_for
from playwright.sync_api import Page, expect
from server import Server, opened_whole

from engine.desk.queue import Queue
from engine.records.events import StepResult, effective
from engine.records.runs import Run, create_run, list_runs
from engine.records.spec_text import build_spec

pytestmark = [pytest.mark.browser, pytest.mark.timeout(420)]


def choices(server: Server, **more: object) -> str:
    """The form, opened by link: preset quick on the tiny model and its prompt files."""
    fields = {
        "model.name": str(server.tiny / "model"),
        "data.circuit_breaker": str(server.tiny / "harmful.jsonl"),
        "data.retain": str(server.tiny / "benign.jsonl"),
        "data.new_tokens": 8,
        "data.heldout_rows": 4,
        "optimizer.steps": 1500,
        "captures.checkpoint_every": 100,
        "captures.heldout_every": 100,
        "captures.probe_every": 250,
        "captures.evaluation_rows": 0,
    } | more
    query = "&".join(f"{name}={value}" for name, value in fields.items())
    return f"{server.url}/train?preset=quick&{query}"


def newest(server: Server) -> Run:
    return list_runs(server.settings.runs)[0]


def steps(run: Run) -> list[int]:
    return [event.step for event in effective(run.events()[0]) if isinstance(event, StepResult)]


def started_run(server: Server, page: Page, **more: object) -> Run:
    """Open the form by link, press Start, and land on the run's page."""
    page.goto(choices(server, **more))
    start = page.get_by_role("button", name="Start training")
    expect(start).to_be_enabled(timeout=90_000)
    start.click()
    page.wait_for_url(re.compile(r"/runs\?run="))
    return newest(server)


def test_choose_quick_start_watch_pause_reload_resume_finish(server: Server, page: Page):
    page.goto(choices(server, **{"optimizer.steps": 300}))
    start = page.get_by_role("button", name="Start training")
    expect(start).to_be_enabled(timeout=90_000)
    expect(page.get_by_text(re.compile(r"^About .* from the click"))).to_be_visible(timeout=60_000)
    start.click()
    page.wait_for_url(re.compile(r"/runs\?run="))
    run = newest(server)

    loss = page.get_by_test_id("stMetric").filter(has_text="Rerouting loss")
    expect(loss).to_contain_text(re.compile(r"\d\.\d"), timeout=90_000)
    expect(page.locator(".js-plotly-plot").first).to_be_visible()
    seen = len(steps(run))
    wait_for(lambda: len(steps(run)) > seen + 5, what="more steps")

    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("paused", exact=False).first).to_be_visible()
    wait_for(lambda: run.record().status == "paused", what="the pause")
    paused_at = len(steps(run))

    page.reload()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    expect(page.locator(".js-plotly-plot").first).to_be_visible()
    time.sleep(1)
    assert len(steps(run)) == paused_at

    page.get_by_role("button", name="Resume").click()
    wait_for(lambda: run.record().status == "finished", seconds=240, what="the end of the run")
    expect(page.get_by_text("finished", exact=False).first).to_be_visible()
    assert steps(run) == list(range(300))
    assert run.record().preset.startswith("quick")
    page.get_by_role("tab", name="Probe answers").click()
    expect(page.get_by_text("Circuit-broken, step 300").first).to_be_visible()


def test_a_killed_worker_shows_as_interrupted_within_ten_seconds_and_the_run_resumes(server: Server, page: Page):
    run = started_run(server, page, **{"optimizer.steps": 3000})
    wait_for(lambda: len(steps(run)) > 110, seconds=120, what="a checkpoint")
    server.kill_worker()
    expect(page.get_by_text("interrupted", exact=False).first).to_be_visible(timeout=10_000)
    assert all(json.loads(line) for line in run.events_file.read_text().splitlines()[:-1])

    page.get_by_role("button", name="Resume").click()
    wait_for(lambda: run.record().status == "running", seconds=90, what="the resume")
    wait_for(lambda: any(event.kind == "status" and event.status == "resumed" for event in run.events()[0]), what="it")
    expect(page.get_by_role("button", name="Stop and keep")).to_be_visible(timeout=60_000)
    page.get_by_role("button", name="Stop and keep").click()
    wait_for(lambda: run.record().status == "stopped", what="the stop")
    expect(page.get_by_text("stopped", exact=False).first).to_be_visible()
    assert (run.adapter_folder / "adapter_model.safetensors").is_file()
    numbers = steps(run)
    assert numbers == list(range(len(numbers)))


def test_zoom_survives_new_steps_and_charts_wait_for_the_mouse(server: Server, page: Page):
    run = started_run(server, page, **{"optimizer.steps": 20000, "data.heldout_rows": 1})
    wait_for(lambda: len(steps(run)) > 60, seconds=120, what="some steps")

    def x_range() -> list[float]:
        return asked(page, "losses", "graph => graph._fullLayout.xaxis?.range?.slice()")

    def move(seconds: float) -> None:
        """Over the chart and back, as somebody who reads its values."""
        left, top, width, height = place(page, "losses")
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            for share in (0.3, 0.5):
                page.mouse.move(left + width * share, top + height / 2)
                time.sleep(0.25)

    def same_drawing() -> bool:
        return ask(page, "losses", "graph => graph.seenBefore ?? false")

    move(4)  # A drawing under way when the mouse comes is still shown.
    asked(page, "losses", "graph => graph.seenBefore = true")
    count = len(steps(run))
    wait_for(lambda: move(4) or len(steps(run)) > count + 20, seconds=60, what="steps while the mouse moves")
    assert same_drawing()

    def zoom() -> bool:
        drag(page, "losses", [(0.3, 0.5), (0.6, 0.5)], steps=6)
        time.sleep(1.5)
        return x_range()[0] > 1

    wait_for(zoom, seconds=90, what="a zoomed chart")
    zoomed = x_range()
    count = len(steps(run))
    page.mouse.move(5, 5)
    wait_for(lambda: same_drawing() is False, what="a drawing without the mouse")
    wait_for(lambda: len(steps(run)) > count + 60, seconds=60, what="more steps")
    time.sleep(5)
    assert x_range() == pytest.approx(zoomed, rel=0.02, abs=0.6)
    Queue(server.settings.desk).control(run.id, "cancel")
    wait_for(lambda: run.record().status == "stopped", what="the end")


def test_a_second_tab_and_a_server_restart_show_the_same_run(server: Server, page: Page):
    run = create_run(server.settings.runs, build_spec({}), name="an old run")
    run.append(StepResult(step=0, reroute_loss=0.5, retain_loss=0.1, reroute_weight=5, retain_weight=0, loss=2.5,
                          gradient_norm=1, learning_rate=1e-3, tokens=10, seconds=1))  # fmt: skip
    run.update(status="finished", step=1, steps=1, figures={"heldout_cosine": 0.25, "heldout_drift": 0.04})
    link = f"{server.url}/runs?run={run.id}"
    for _ in range(2):
        page.goto(link)
        expect(page.get_by_text("an old run").first).to_be_visible()
        expect(page.get_by_test_id("stMetric").filter(has_text="Held-out cosine")).to_contain_text("0.25")
        server.stop()
        server.start(forked=False)


def test_a_browser_that_reads_no_further_does_not_keep_the_server_alive(server: Server, page: Page):
    page.goto(server.url)
    expect(page.get_by_text("Worker", exact=True)).to_be_visible()
    served = Path(streamlit.__file__).parent / "static"
    largest = max(served.rglob("*.js"), key=lambda script: script.stat().st_size)
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect(("localhost", server.port))
        reader.sendall(f"GET /{largest.relative_to(served)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert reader.recv(15) == b"HTTP/1.1 200 OK"
        server.stop()


def test_wrong_blocks_are_refused_beside_the_widget(server: Server, page: Page):
    page.goto(choices(server, **{"blocks.targets": "77"}))
    expect(page.get_by_text("Block 77 does not exist: choose 0 to 3").first).to_be_visible(timeout=90_000)
    expect(page.get_by_role("button", name="Start training")).to_be_disabled()


def test_a_missing_model_folder_is_said_in_the_form(server: Server, page: Page):
    page.goto(choices(server, **{"model.name": "/nowhere/model"}))
    expect(page.get_by_text("does not exist").first).to_be_visible(timeout=90_000)
    expect(page.get_by_role("button", name="Start training")).to_be_disabled()


def test_no_page_throws_in_the_browser_and_no_trace_is_in_the_log(server: Server, page: Page):
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    for path in ("", "/train", "/runs", "/runs?run=nothing", "/runs?compare=a,b", "/train?preset=none"):
        opened_whole(page, server.url + path)
        assert page.get_by_test_id("stException").count() == 0
    assert problems == []
    assert "Traceback" not in server.log()


def test_the_server_process_never_imports_torch_and_listens_on_localhost_alone(server: Server, page: Page):
    server.stop()
    server.start(forked=False)
    for path in ("", "/train", "/runs"):
        page.goto(server.url + path)
        expect(page.get_by_text("Worker", exact=True)).to_be_visible()
        # What looks by itself every two seconds has looked.
        page.wait_for_timeout(2500)
    assert server.process is not None
    os.kill(server.process.pid, signal.SIGUSR1)
    wait_for(server.modules_file.is_file, what="the list of modules")
    modules = set(server.modules_file.read_text().split())
    assert {"streamlit", "engine.records.spec"} <= modules
    assert not modules & {"torch", "transformers", "peft", "umap", "accelerate", "engine.compute", "engine.worker"}
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = [fields[1] for fields in lines if fields[3] == "0A"]
    ours = [address for address in listening if int(address.split(":")[1], 16) == server.port]
    assert ours and all(address.startswith("0100007F") for address in ours)
