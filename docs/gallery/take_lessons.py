"""Take a picture of each of Learn's units, at its first step with a figure, with the finished run that ships.

Starts the app on a free port with a runs folder of its own. `make gallery` calls it. A folder as its argument: every
step of every unit goes there instead, wide and as on a phone, to be looked through.
"""

import sys
from pathlib import Path

from playwright.sync_api import Browser, Page, expect
from take import FOLDER, served

from engine.records.lessons.lesson import Step
from engine.records.lessons.reading import Lesson, read_lessons
from engine.records.settings import read_settings

WIDE, PHONE = (1120, 980), (400, 900)


def main() -> None:
    everything = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    with served() as (browser, url, runs):
        lessons = read_lessons(read_settings(runs))
        if everything is None:
            page = _page(browser, WIDE)
            for lesson in lessons.units:
                step = next((one for one in lesson.unit.steps if one.figure), lesson.unit.steps[0])
                _take(page, url, lesson, step, FOLDER / f"learn-{lesson.unit.order}-{lesson.name}.png")
            return
        for name, size in (("wide", WIDE), ("phone", PHONE)):
            page = _page(browser, size)
            for lesson in lessons.units:
                for number, step in enumerate(lesson.unit.steps, start=1):
                    file = everything / f"{name}-{lesson.unit.order}-{number}-{step.id}.png"
                    _take(page, url, lesson, step, file, whole=True)


def _page(browser: Browser, size: tuple[int, int]) -> Page:
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme="light")
    # Beside a training a page may take minutes.
    context.set_default_navigation_timeout(180_000)
    return context.new_page()


def _take(page: Page, url: str, lesson: Lesson, step: Step, file: Path, *, whole: bool = False) -> None:
    """whole: with what lies below the window's edge."""
    page.goto(f"{url}/learn?unit={lesson.name}&step={step.id}")
    expect(page.get_by_role("heading", name=step.title, exact=True)).to_be_visible(timeout=120_000)
    if step.figure:
        expect(page.locator(".js-plotly-plot .main-svg").first).to_be_visible(timeout=180_000)
    page.wait_for_timeout(2500)
    if whole:
        # Streamlit scrolls within the page: the window grows to what there is.
        size = page.viewport_size or {"width": WIDE[0], "height": WIDE[1]}
        height = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
        page.set_viewport_size({**size, "height": max(size["height"], int(height))})
        page.wait_for_timeout(1000)
        page.screenshot(path=file)
        page.set_viewport_size(size)
    else:
        page.screenshot(path=file)


if __name__ == "__main__":
    main()
