"""What a supervisor clicks while a run goes on, and afterwards: live values, cancel, downloads, delete, the worker."""

import json
from pathlib import Path

import pytest
from making import wait_for
from playwright.sync_api import Page, expect
from server import Server
from test_live_run import started_run, steps

from engine.desk.queue import Queue
from engine.records.events import StepResult
from engine.records.runs import create_run, list_runs
from engine.records.spec_text import build_spec, read_spec

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


def test_a_learning_rate_set_while_training_holds_from_the_next_step_and_cancel_keeps_nothing(
    server: Server, page: Page
):
    # Under a decay the rate of a step is a share of what was set.
    fields = {"optimizer.steps": 20000, "optimizer.decay": "constant", "captures.checkpoint_every": 20000}
    run = started_run(server, page, **fields)
    wait_for(lambda: len(steps(run)) > 20, seconds=120, what="some steps")
    page.get_by_test_id("stPopover").filter(has_text="Adjust").get_by_role("button").first.click()
    field = page.get_by_role("spinbutton", name="Learning rate")
    field.fill("0.0005")
    # The first checkpoint brings links above the controls: an open popover keeps what is typed.
    (run.checkpoints_folder / "step-000001").mkdir(parents=True)
    (run.checkpoints_folder / "step-000001" / "position.json").write_text("{}")
    expect(page.locator(".st-key-next_steps").get_by_role("link", name="Look")).to_be_visible()
    expect(field).to_have_value("0.0005")
    field.press("Enter")
    page.get_by_role("button", name="Set learning rate").click()

    def rates() -> list[float]:
        return [event.learning_rate for event in run.events()[0] if isinstance(event, StepResult)]

    wait_for(lambda: rates()[-1] == 0.0005, what="the new learning rate")
    (control,) = run.controls()
    assert control.control == "learning_rate" and control.value == 0.0005
    assert rates()[control.step] == 0.0005 and rates()[control.step - 1] != 0.0005

    page.keyboard.press("Escape")
    page.get_by_test_id("stPopover").filter(has_text="Cancel").get_by_role("button").first.click()
    page.get_by_role("button", name="Cancel this run").click()
    wait_for(lambda: run.record().status == "stopped", what="the cancel")
    assert not run.adapter_folder.exists() and not run.checkpoints_folder.exists()
    expect(page.get_by_text("nothing was kept").first).to_be_visible()


def test_a_spec_is_downloaded_as_it_is_and_a_run_is_deleted_after_asking(server: Server, page: Page, tmp_path: Path):
    run = create_run(server.settings.runs, build_spec({"seed": 7}), name="throw me away")
    run.update(status="finished")
    page.goto(f"{server.url}/runs?run={run.id}&view=Spec")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download").first.click()
    target = tmp_path / "downloaded.json"
    waiting.value.save_as(target)
    assert read_spec(target) == run.spec() and json.loads(target.read_text())["seed"] == 7

    page.goto(f"{server.url}/runs")
    expect(page.get_by_role("link", name="throw me away")).to_be_visible()
    page.get_by_role("button", name="More").first.click()
    delete = page.get_by_role("button", name="Delete for good")
    expect(delete).to_be_disabled()
    page.get_by_text("Delete this run with its adapter and curves").click()
    expect(delete).to_be_enabled()
    delete.click()
    wait_for(lambda: not run.folder.exists(), what="the end of the folder")
    expect(page.get_by_role("link", name="throw me away")).to_have_count(0)
    assert run.id not in [other.id for other in list_runs(server.settings.runs)]


def test_a_dead_worker_is_shown_and_its_button_starts_a_new_one(server: Server, page: Page):
    page.goto(f"{server.url}/runs")
    queue = Queue(server.settings.desk)
    wait_for(lambda: queue.worker().alive and queue.worker().status != "starting", what="the worker")
    first = queue.worker().pid
    server.kill_worker()
    button = page.get_by_role("button", name="Start the worker")
    expect(button).to_be_visible(timeout=15_000)
    button.click()
    wait_for(lambda: queue.worker().alive and queue.worker().pid != first, what="a new worker")
    expect(button).to_have_count(0, timeout=15_000)


def test_a_run_that_waits_says_for_which_and_can_be_put_first(server: Server, page: Page):
    """Two runs at once: the second page names the first with its step, and its button lets the first give way."""
    first = started_run(server, page, **{"optimizer.steps": 20000})
    wait_for(lambda: len(steps(first)) > 5, seconds=120, what="some steps")
    first.set_label(name="the long one", note="")
    second = create_run(server.settings.runs, first.spec(), name="the other one")
    Queue(server.settings.desk).submit("train", run_id=second.id)
    page.goto(f"{server.url}/runs?run={second.id}")
    expect(page.get_by_text("Waits for the long one (step")).to_be_visible(timeout=20_000)
    page.get_by_role("button", name="Train this first").click()
    wait_for(lambda: len(steps(second)) > 2, seconds=60, what="steps of the other run")
    assert first.record().status == "queued"
    page.goto(f"{server.url}/runs?run={first.id}")
    expect(page.get_by_text("Waits for the other one (step")).to_be_visible(timeout=20_000)
    page.goto(f"{server.url}/runs?run={second.id}")
    page.get_by_role("button", name="Stop and keep").click()
    before = len(steps(first))
    wait_for(lambda: second.record().status == "stopped" and len(steps(first)) > before, seconds=60, what="the first")


def test_the_worker_can_be_restarted_at_any_time_and_the_run_resumes(server: Server, page: Page):
    run = started_run(server, page, **{"optimizer.steps": 20000})
    wait_for(lambda: len(steps(run)) > 5, seconds=120, what="some steps")
    queue = Queue(server.settings.desk)
    before = queue.worker().pid
    page.get_by_test_id("stPopover").filter(has_text="Restart").get_by_role("button").first.click()
    page.get_by_role("button", name="Restart the worker").click()
    wait_for(lambda: queue.worker().alive and queue.worker().pid not in (0, before), seconds=60, what="a new worker")
    wait_for(lambda: run.record().status == "interrupted", what="the run being interrupted")
    page.get_by_role("button", name="Resume", exact=True).click()
    reached = len(steps(run))
    wait_for(lambda: len(steps(run)) > reached, seconds=60, what="the resumed run's steps")
