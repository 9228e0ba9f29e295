"""A browser that was asked once shows one notification when a watched run ends."""

import pytest
from making import wait_for
from playwright.sync_api import Page, expect
from server import Server
from test_live_run import started_run, steps

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
# Headless browsers show no notifications: the page's are kept in the window.
KEPT = """
window.shown = [];
window.Notification = class {
  static permission = "default";
  static requestPermission() { window.asked = (window.asked || 0) + 1; this.permission = "granted"; return "granted"; }
  constructor(title) { window.shown.push(title); }
};
"""


def test_a_watched_run_that_ends_is_told_once(server: Server, page: Page):
    page.add_init_script(KEPT)
    run = started_run(server, page, **{"optimizer.steps": 20000})
    wait_for(lambda: len(steps(run)) > 5, seconds=120, what="some steps")
    page.get_by_role("button", name="Tell me when it ends").click()
    expect(page.get_by_role("button", name="Do not tell me")).to_be_visible()
    assert page.evaluate("[window.asked, window.shown.length]") == [1, 0]
    page.get_by_role("button", name="Stop and keep").click()
    wait_for(lambda: run.record().status == "stopped", seconds=60, what="the stop")
    page.wait_for_function("window.shown.length > 0", timeout=30_000)
    page.wait_for_timeout(3000)
    assert page.evaluate("window.shown") == [f"{run.name}: stopped"]
    expect(page.get_by_role("button", name="Tell me when it ends")).to_be_hidden()
