"""Files that leave the workbench, opened in a real browser: no label is cut, the report says where it is from."""

import time
from pathlib import Path

import plotly.graph_objects as go
import pytest
from making_runs import shipped_default
from playwright.sync_api import Page, expect

from engine.exports.evaluation_report import report_html, run_facts
from engine.figures.drawing import add_line, blank_figure
from engine.records.evaluation.findings import read_evaluations
from engine.records.settings import Settings
from workbench.kit.downloads import figure_html

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]
LABELS = ".xtick text, .ytick text, .xtitle, .ytitle, .gtitle, .legendtext, .annotation-text"
# Labels of every drawing that lie outside it, or outside the page, by more than a pixel.
CUT = """labels => [...document.querySelectorAll('.js-plotly-plot')].flatMap(graph => {
    const room = graph.querySelector('.main-svg').getBoundingClientRect();
    return [...graph.querySelectorAll(labels)].filter(label => label.textContent.trim()).map(label => {
        const box = label.getBoundingClientRect();
        const over = Math.max(room.left - box.left, box.right - room.right, room.top - box.top,
            box.bottom - room.bottom, box.right - document.documentElement.clientWidth);
        return [label.textContent, Math.round(over)];
    }).filter(([, over]) => over > 1);
})"""
OVERLAPS = """() => [...document.querySelectorAll('.js-plotly-plot')].flatMap(graph => {
    const box = name => graph.querySelector(name)?.getBoundingClientRect();
    const title = box('.gtitle'), plot = box('.nsewdrag'), legend = box('.legend');
    return [plot, legend].filter(one => one && title && title.bottom > one.top + 2 && title.top < one.bottom
        && title.left < one.right && title.right > one.left).map(() => graph.querySelector('.gtitle').textContent);
})"""


def opened(page: Page, file: Path, html: str, *, graphs: int) -> None:
    file.write_text(html)
    page.goto(file.as_uri())
    expect(page.locator(".js-plotly-plot .main-svg .xtitle")).to_have_count(graphs)


def whole(page: Page) -> None:
    labels = page.locator(", ".join(f".js-plotly-plot {one}" for one in LABELS.split(", "))).all_text_contents()
    assert len([label for label in labels if label.strip()]) > 5
    assert page.evaluate(CUT, LABELS) == []
    assert page.evaluate(OVERLAPS) == []


@pytest.mark.parametrize("width", [1400, 900])
def test_the_report_of_shipped_evaluations_is_whole_and_says_where_it_comes_from(
    page: Page, tmp_path: Path, width: int
):
    settings = Settings(runs=tmp_path / "runs", cache=tmp_path / "cache")
    run = shipped_default()
    found = read_evaluations(run, settings)
    assert len(found) == 5
    names = [f"shipped {one.key}" for one in found]
    page.set_viewport_size({"width": width, "height": 900})
    html = report_html(found, names, [run_facts(run, one) for one in found])
    opened(page, tmp_path / "report.html", html, graphs=html.count("plotly-graph-div"))
    whole(page)
    head = page.locator("table.about").inner_text()
    record = run.record()
    for said in (run.id, record.digest, found[0].judge, f"torch {record.versions['torch']}", "n 221", "n 100", "n 32"):
        assert said in head, said
    for one in found:
        assert time.strftime("%Y-%m-%d %H:%M", time.localtime(one.created)) in head
    assert "Written" in page.inner_text("body")


def long_figures() -> dict[str, go.Figure]:
    """A curve with long titles and a wide range, and a map of two panels: what is cut at 8 pixels."""
    curve = blank_figure(
        "A finding that is so long that it does not fit into one line of a page of nine hundred pixels, n 221",
        "harmful requests that complied, mean of eight attacks, %",
        height=260,
    )
    add_line(curve, range(1200), [1e7 * step for step in range(1200)], "a run with a very long name of its own", "#000")
    add_line(curve, range(1200), [-5e6] * 1200, "another run", "#777")
    panels = go.Figure(layout={"margin": {"l": 8, "r": 8, "t": 30, "b": 8}, "height": 330})
    panels.update_layout(
        xaxis={"domain": [0, 0.46], "title": {"text": "direction in which harmful answers moved, deviations"}},
        xaxis2={"domain": [0.54, 1], "anchor": "y2", "title": {"text": "first orthogonal component, deviations"}},
        yaxis={"title": {"text": "block"}, "tickvals": [0, 1], "ticktext": ["block 19, target", "block 12, adapted"]},
        yaxis2={"anchor": "x2", "title": {"text": "cosine"}},
    )
    panels.add_scatter(x=[0, 1], y=[0, 1], name="harmful")
    panels.add_scatter(x=[0, 1000000], y=[0, 1], xaxis="x2", yaxis="y2", name="benign")
    return {"curve": curve, "map-block-19": panels}


@pytest.mark.parametrize(("name", "width"), [(name, width) for name in long_figures() for width in (1400, 900)])
def test_an_exported_figure_is_whole_on_a_light_ground(page: Page, tmp_path: Path, name: str, width: int):
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme="dark")
    figure = long_figures()[name]
    before = figure.to_json()
    opened(page, tmp_path / f"{name}.html", figure_html(figure, file=name), graphs=1)
    whole(page)
    assert figure.to_json() == before, "the figure on the page is left as it is"
    assert (page.locator(".gtitle").text_content() or "").strip()
    assert (
        page.evaluate("getComputedStyle(document.querySelector('.main-svg')).backgroundColor") == "rgb(255, 255, 255)"
    )
    page.locator(".js-plotly-plot").hover()
    with page.expect_download() as download:
        page.locator("[data-title*='Download plot']").click()
    assert download.value.suggested_filename == f"{name}.png"
