"""The mouse, as a user holds it. No fixtures: any browser test may import it."""

from collections.abc import Sequence

from making import wait_for
from playwright.sync_api import FloatRect, Locator, Page


def drag(page: Page, over: Locator, places: Sequence[tuple[float, float]], *, steps: int) -> None:
    """Press at the first place, pass the others, let go at the last. Places: shares of width and height."""
    boxes: list[FloatRect | None] = []
    # Between two drawings there is none.
    wait_for(lambda: boxes.append(over.bounding_box()) or boxes[-1], seconds=20, what="something to drag over")
    box = boxes[-1]
    assert box is not None
    first, *others = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in places]
    page.mouse.move(*first)
    page.mouse.down()
    for place in others:
        page.mouse.move(*place, steps=steps)
    page.mouse.up()
