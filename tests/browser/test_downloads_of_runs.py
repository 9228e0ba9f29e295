"""What the buttons of a run's page and of a comparison give to a real browser: whole files, of the run that is open."""

from pathlib import Path

import nbformat
import pytest
from making_runs import write_run
from playwright.sync_api import Locator, Page, expect
from server import Server, settled

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
ENDS = ("<!doctype html>", "</html>")


def downloaded(page: Page, place: Locator | Page, label: str, name: str) -> str:
    """The text of the file that a button gives, under the name that is expected of it."""
    button = place.get_by_role("button", name=label, exact=True)
    expect(button).to_be_visible()
    settled(page)
    with page.expect_download() as waiting:
        button.click()
    assert waiting.value.suggested_filename == name
    return Path(waiting.value.path()).read_text()


def test_share_and_compare_give_files_of_the_runs_that_are_open(server: Server, page: Page):
    runs = [write_run(server.settings, name=name, complied=passed) for name, passed in (("one", 2), ("two", 10))]
    # Another run's page in the same tab gives that run's files.
    for run, views in zip(runs, (("curves",), ("curves", "map", "matrix")), strict=True):
        page.goto(f"{server.url}/runs?run={run.id}")
        expect(page.get_by_role("heading", name=run.name)).to_be_visible()
        settled(page).get_by_role("button", name="Share").click()
        share = page.get_by_test_id("stPopoverBody")
        for view in views:
            text = downloaded(page, share, view.capitalize(), f"{view}-{run.id}.ipynb")
            notebook = nbformat.reads(text, as_version=4)
            nbformat.validate(notebook)
            assert run.id in text and str(server.settings.runs) not in text and len(notebook.cells) > 2
    replay = downloaded(page, share, "Download the replay", f"replay-{runs[1].id}.html")
    assert replay.startswith(ENDS[0]) and "two" in replay and replay.rstrip().endswith(ENDS[1])
    ids = [run.id for run in runs]
    page.goto(f"{server.url}/runs?compare={','.join(ids)}")
    html = downloaded(page, page, "HTML", f"comparison-{'-'.join(ids)}.html")
    assert html.startswith(ENDS[0]) and html.endswith(ENDS[1]) and "n = 20 of the same requests: more." in html
    text = downloaded(page, page, "Markdown", f"comparison-{'-'.join(ids)}.md")
    assert text.startswith("# Runs compared") and "+40 points" in text
