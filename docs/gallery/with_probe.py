"""Take the pictures of a harmfulness probe: its figures on the run's page, an answer that it ends, an evaluation.

Takes the newest finished run of the preset `strongest` from the usual runs folder, which has to be evaluated with a
probe for the last picture. `make gallery` does not call it: training that preset takes twenty minutes on two cores.
"""

import re

from playwright.sync_api import Browser, expect
from second_model import newest
from take import FOLDER, scheme_page, served, shoot

from engine.records.prompt_files import read_source
from engine.records.runs import Run
from engine.records.settings import read_settings


def main() -> None:
    run = newest(read_settings().runs, "strongest")
    if run is None:
        raise SystemExit("There is no finished run of the preset strongest: python -m engine train strongest")
    with served(read_settings().runs) as (browser, url, _):
        _pictures(browser, url, run)


def _pictures(browser: Browser, url: str, run: Run) -> None:
    page = scheme_page(browser, "light")
    page.goto(f"{url}/runs?run={run.id}&view=Spec")
    table = page.get_by_test_id("stTable")
    expect(table).to_be_visible(timeout=60_000)
    # The table alone: beside it stands where the adapter lies on this machine.
    table.screenshot(path=FOLDER / "probe-figures.png")
    page.goto(f"{url}/side-by-side?run={run.id}")
    box = page.get_by_role("combobox", name="Harmfulness probe")
    expect(box).to_be_visible(timeout=60_000)
    box.click()
    page.get_by_role("option", name="Probe: MLP 64-32").click()
    harmful = [one for one in read_source("sample:harmful", label="harmful") if one.split == "test"]
    page.get_by_placeholder("Ask all models at once").fill(next(one for one in harmful if one.style == "question").text)
    page.get_by_role("button", name=re.compile("^(Ask|Send)$")).click()
    expect(page.get_by_role("button", name="Ask again")).to_be_visible(timeout=180_000)
    shoot(page, "probe-chat")
    page = scheme_page(browser, "light", height=1500)
    page.goto(f"{url}/evaluate?run={run.id}")
    heading = page.get_by_role("heading", name=re.compile("With the harmfulness probe"))
    expect(heading.first).to_be_visible(timeout=60_000)
    shoot(page, "probe-evaluate")


if __name__ == "__main__":
    main()
