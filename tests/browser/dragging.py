"""The mouse, as a user holds it. No fixtures: any browser test may import it."""

from collections.abc import Sequence

from playwright.sync_api import Locator, Page


def drag(page: Page, over: Locator, places: Sequence[tuple[float, float]], *, steps: int) -> None:
    """Press at the first place, pass the others, let go at the last. Places: shares of width and height."""
    box = over.bounding_box()
    assert box is not None
    first, *others = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in places]
    page.mouse.move(*first)
    page.mouse.down()
    for place in others:
        page.mouse.move(*place, steps=steps)
    page.mouse.up()
