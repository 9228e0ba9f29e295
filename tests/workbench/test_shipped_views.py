"""Every view of every run that ships is drawn without a fault, and asks each probe prompt once."""

import pytest
from streamlit.testing.v1 import AppTest

from engine.records.events import ProbeResult
from engine.records.runs import Run
from engine.records.settings import ROOT, SAMPLE_DATA
from workbench.kit import state
from workbench.runs.run import VIEWS

SHIPPED = sorted(path.parent for path in (SAMPLE_DATA / "runs").glob("*/record.json"))


@pytest.fixture
def drawn(settings, monkeypatch):
    monkeypatch.delenv("WORKBENCH_SHIPPED_RUNS")
    state.settings.cache_clear()

    def draw(run: Run, view: str) -> AppTest:
        page = AppTest.from_file(str(ROOT / "pages" / "runs.py"), default_timeout=120)
        page.query_params["run"] = run.id
        page.query_params["view"] = view
        return page.run()

    yield draw
    state.settings.cache_clear()


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
@pytest.mark.parametrize("view", VIEWS)
def test_each_view_is_drawn(drawn, folder, view):
    run = Run(folder)
    page = drawn(run, view)
    assert not page.exception and not page.error
    if view == "Probe answers":
        probes = [event for event in run.events()[0] if isinstance(event, ProbeResult)]
        labels = [label for label, _, _ in probes[-1].by_request]
        badges = [one.value.partition("badge[")[2].rstrip("]") for one in page.markdown]
        shown = [badge for badge in badges if badge in ("harmful", "benign")]
        assert labels and shown == sorted(labels, reverse=True)
