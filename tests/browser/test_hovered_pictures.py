"""The picture of the prompt under the mouse, on a map in a real browser: a harmless one as it is, a harmful one as
fields of its colours until it is revealed, and none where no copy was kept."""

import base64
import io

import numpy as np
import pytest
from graphs import asked
from making import wait_for
from making_shown import write_shown_capture
from PIL import Image
from playwright.sync_api import Page, expect
from server import Server

from engine.records.captures.capture import TRAINING, Capture
from engine.records.captures.thumbnails import EDGE, thumbnails
from engine.records.runs import create_run
from engine.records.spec_text import build_spec

pytestmark = [pytest.mark.browser, pytest.mark.timeout(420)]

EACH = 8
# Where the point of a prompt lies on the screen, in the first panel that shows it.
POINT = """(graph, row) => {
    graph.scrollIntoView({block: "center"});
    for (const trace of graph._fullData) {
        const point = trace.customdata?.findIndex(about => about[0] === row) ?? -1;
        if (point < 0) continue;
        const across = graph._fullLayout[trace.xaxis.replace("x", "xaxis")];
        const along = graph._fullLayout[trace.yaxis.replace("y", "yaxis")];
        const box = graph.getBoundingClientRect();
        return [box.x + across._offset + across.l2p(trace.x[point]), box.y + along._offset + along.l2p(trace.y[point])];
    }
    return null;
}"""


@pytest.fixture
def capture(server: Server) -> Capture:
    run = create_run(server.settings.runs, build_spec({}), name="seer")
    run.update(status="finished", step=20, steps=20)
    folder = run.representations_folder / TRAINING
    return write_shown_capture(
        folder, each=EACH, pictures=server.tiny / "shown", kept=2 * EACH - 1, run_id=run.id, key=TRAINING
    )


def hover(page: Page, row: int) -> None:
    """The mouse comes from outside, as a user's does, and rests on a prompt's point."""
    across, along = asked(page, "map", POINT, row)
    page.mouse.move(3, 3)
    page.wait_for_timeout(300)
    page.mouse.move(across - 1, along, steps=3)
    page.mouse.move(across, along)
    page.wait_for_timeout(1000)


def seen(page: Page) -> list[Image.Image]:
    """The pictures that are on the screen beside the mouse."""
    found = page.locator("#workbench-hovered img")
    if not found.count() or not found.first.is_visible():
        return []
    sources = [found.nth(number).get_attribute("src") or "" for number in range(found.count())]
    return [Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) for source in sources]


def is_seen(page: Page, capture: Capture, row: int) -> bool:
    """Whether the one picture beside the mouse is that of a prompt, pixel by pixel."""
    [file] = thumbnails(capture, capture.index.prompts[row])
    pictures = seen(page)
    if file is None or len(pictures) != 1:
        return False
    with Image.open(file) as kept:
        return pictures[0].size == kept.size and np.array_equal(np.asarray(pictures[0]), np.asarray(kept))


def opened(page: Page, server: Server, capture: Capture, **more: str) -> None:
    query = "".join(f"&{name}={value}" for name, value in more.items())
    page.goto(f"{server.url}/representations?run={capture.index.run_id}&capture={TRAINING}&method=PCA{query}")
    expect(page.locator(".st-key-chart_map .js-plotly-plot").first).to_be_visible(timeout=120_000)
    wait_for(lambda: asked(page, "map", POINT, 0), what="a drawn map")
    page.wait_for_timeout(1500)


def test_the_picture_under_the_mouse_is_that_of_its_prompt_and_a_harmful_one_is_hidden(
    server: Server, page: Page, capture: Capture
):
    harmless, other, lost, harmful = EACH, EACH + 1, 2 * EACH - 1, 0
    opened(page, server, capture, selected=str(harmful))
    wait_for(lambda: hover(page, harmless) or is_seen(page, capture, harmless), what="its picture")
    wait_for(lambda: hover(page, other) or is_seen(page, capture, other), what="the next one's picture")
    page.mouse.move(3, 3)
    wait_for(lambda: not seen(page), what="nothing under a mouse that has gone")

    # No copy of it was kept: the words under the mouse stand alone.
    hover(page, lost)
    expect(page.locator(".st-key-chart_map .hoverlayer .hovertext").first).to_be_visible()
    page.wait_for_timeout(1500)
    assert not seen(page)

    wait_for(lambda: hover(page, harmful) or len(seen(page)) == 1, what="what stands for a harmful picture")
    assert seen(page)[0].size[0] == EDGE and not is_seen(page, capture, harmful)
    page.get_by_role("button", name="Reveal picture, prompt and answers").click()
    expect(page.locator("[class*='st-key-blurred']")).to_have_count(0)
    wait_for(lambda: hover(page, harmful) or is_seen(page, capture, harmful), what="the revealed picture")

    # A second tab has a mouse of its own, and hides on its own.
    second = page.context.new_page()
    opened(second, server, capture)
    wait_for(lambda: hover(second, harmful) or len(seen(second)) == 1, what="the second tab's picture")
    assert not is_seen(second, capture, harmful)
    assert not server.log().count("Traceback")
