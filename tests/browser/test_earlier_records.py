"""Records that version 0.1 wrote open in every page, by the links that it gave."""

import json
import shutil

import pytest
from playwright.sync_api import Page, expect
from server import Server

from engine.records.settings import ROOT

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

EARLIER = ROOT / "tests" / "earlier" / "version_0_1"
WRITTEN = json.loads((EARLIER / "expected.json").read_text())
FINISHED, STOPPED = WRITTEN["finished"], WRITTEN["stopped"]
LINKS = {
    "runs": "finished",
    f"runs?run={FINISHED}": "Tokens per second",
    f"runs?run={STOPPED}": "Resume",
    f"runs?run={FINISHED}&view=Spec": "Made with",
    f"runs?compare={FINISHED},{STOPPED}": "stopped",
    f"representations?run={FINISHED}&capture={WRITTEN['capture_key']}&tab=Maps&block=1": "Capture",
    f"representations?run={FINISHED}&capture=training&tab=What rerouting did": "Mean cosine between base",
    f"side-by-side?chat={WRITTEN['chat']}": "hello",
    f"side-by-side?set={WRITTEN['set']}&side_view=Run a set": "harmful-",
    "side-by-side?side_view=Transcripts": "hello",
    f"evaluate?run={FINISHED}": "Harmful requests that were answered",
    f"train?like={FINISHED}": "Train a circuit breaker",
}


def test_every_page_opens_what_version_0_1_wrote(server: Server, page: Page):
    for name in ("runs", "cache"):
        shutil.copytree(EARLIER / name, server.settings.runs.parent / name, dirs_exist_ok=True)
    for link, text in LINKS.items():
        page.goto(f"{server.url}/{link}")
        if text == "hello":
            # Said to be harmful: it does not reach the browser while texts are hidden.
            page.get_by_text("Blur harmful text").click(timeout=60_000)
        # The cells of a table are drawn on a canvas, and their text is beside it for readers alone.
        expect(page.get_by_text(text).first, link).to_be_attached(timeout=60_000)
        expect(page.get_by_test_id("stException"), link).to_have_count(0)
        # Its model is on a hub, which cannot be reached here: Train says so as soon as it has been looked for.
        damaged = page.get_by_text("cannot be read").filter(has_not_text="tiny/model")
        expect(damaged, link).to_have_count(0)
