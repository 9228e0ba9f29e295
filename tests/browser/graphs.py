"""Plotly graphs as a user sees and holds them. No fixtures: any browser test may import it.

Each drawing of a page makes a new graph beside the old one, hidden until the old one goes. Whoever finds a graph first
and asks it something afterwards may therefore ask one that is gone, again and again where the browser is slow. So a
graph is found and asked in one go.
"""

from collections.abc import Sequence
from typing import Any

from making import wait_for
from playwright.sync_api import Page

_ASK = """([name, argument]) => {
    const graphs = [...document.querySelectorAll(`.st-key-chart_${name} .js-plotly-plot`)];
    const shown = graphs.filter(graph => graph._fullLayout && graph.getClientRects().length);
    return shown.length ? (QUESTION)(shown.at(-1), argument) ?? null : null;
}"""
_PLACE = """(graph, [part, number]) => {
    graph.scrollIntoView({block: "center"});
    const place = graph.querySelectorAll(part)[number]?.getBoundingClientRect();
    return place?.width ? [place.x, place.y, place.width, place.height] : null;
}"""


def ask(page: Page, name: str, question: str, argument: Any = None) -> Any:
    """The answer of the graph with key chart_NAME to a JavaScript function of it; None while there is no such graph."""
    return page.evaluate(_ASK.replace("QUESTION", question), [name, argument])


def asked(page: Page, name: str, question: str, argument: Any = None, *, seconds: float = 60) -> Any:
    """The first answer that is one: a graph that is being drawn has none."""
    answers: list[Any] = []

    def look() -> bool:
        answers.append(ask(page, name, question, argument))
        return answers[-1] is not None

    wait_for(look, seconds=seconds, what=f"an answer of the graph {name}")
    return answers[-1]


def place(page: Page, name: str, part: str = ".nsewdrag", number: int = 0) -> tuple[float, float, float, float]:
    """Left, top, width and height of a part of a graph, in pixels of the screen, after it was scrolled to."""
    left, top, width, height = asked(page, name, _PLACE, [part, number])
    return left, top, width, height


def drag(
    page: Page,
    name: str,
    over: Sequence[tuple[float, float]],
    *,
    part: str = ".nsewdrag",
    number: int = 0,
    steps: int = 8,
) -> None:
    """Press at the first place of a part of a graph, pass the others, let go at the last. Places: shares of width and
    height. A drawing that comes while the mouse is down takes the drag away, as it does with a user."""
    left, top, width, height = place(page, name, part, number)
    first, *others = [(left + width * x, top + height * y) for x, y in over]
    page.mouse.move(*first)
    page.mouse.down()
    for other in others:
        page.mouse.move(*other, steps=steps)
    page.mouse.up()
