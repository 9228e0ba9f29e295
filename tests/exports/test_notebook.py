"""Notebooks are run in a real kernel, and draw what the pages draw."""

from base64 import b64decode

import nbformat
import numpy as np
import pytest
from making_runs import add_capture, write_run
from nbclient import NotebookClient

from engine.__main__ import main
from engine.compute.geometry.projection import project
from engine.compute.geometry.separation import Groups
from engine.exports.notebook.write import VIEWS, notebook_text
from engine.figures.curves import run_figures
from engine.figures.drawing import figure_content
from engine.records.captures.capture import BASE, run_captures
from engine.records.tables import run_tables

PLOTLY = "application/vnd.plotly.v1+json"


@pytest.fixture
def run(settings, monkeypatch):
    monkeypatch.setenv("PLOTLY_RENDERER", "plotly_mimetype")
    run = write_run(settings)
    add_capture(run, settings)
    return run


def drawn(text: str) -> list[dict]:
    """The figures that the notebook drew when it was run."""
    notebook = nbformat.reads(text, as_version=4)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return [output["data"][PLOTLY] for output in outputs if PLOTLY in output.get("data", {})]


def numbers(values: list | dict) -> list[float]:
    """Of a trace's axis, which travels as a list or packed."""
    if isinstance(values, dict):
        return np.frombuffer(b64decode(values["bdata"]), dtype=values["dtype"]).tolist()
    return values


def test_the_curves_of_the_notebook_are_those_of_the_page(run):
    figures = drawn(notebook_text(run, "curves"))
    page = run_figures(run_tables(run.events()[0]), run.controls())
    for found, name in zip(figures, ("losses", "cosine", "drift", "weights", "gradient"), strict=True):
        expected = figure_content(page[name])["data"]
        assert [numbers(trace["y"]) for trace in found["data"]] == [numbers(trace["y"]) for trace in expected]
        assert found["layout"]["title"]["text"] == page[name].layout.title.text


def test_the_map_of_the_notebook_has_the_points_that_the_worker_computes(run, settings):
    (figure,) = drawn(notebook_text(run, "map"))
    (capture,) = run_captures(settings, run.id)
    mean, deviation = capture.space(1)
    vectors = {
        name: (capture.vectors(name, "response_mean", 1) - mean) / deviation for name in capture.index.checkpoints
    }
    labels = np.array([prompt.group for prompt in capture.index.prompts])
    groups = Groups(labels == "harmful", labels == "benign", labels == "borderline")
    expected = project(vectors, groups, method="pca", dimensions=2, seed=0).points
    for panel, checkpoint in (("x", BASE), ("x2", "step-000020")):
        traces = [trace for trace in figure["data"] if trace["xaxis"] == panel and "customdata" in trace]
        rows = [about[0] for trace in traces for about in trace["customdata"]]
        places = [np.concatenate([numbers(trace[axis]) for trace in traces]) for axis in ("x", "y")]
        assert sorted(rows) == list(range(len(labels)))
        np.testing.assert_allclose(np.column_stack(places), expected[checkpoint][rows], rtol=1e-4, atol=1e-5)


def test_the_matrix_of_the_notebook_is_drawn_with_its_front_and_budgets(run):
    figures = drawn(notebook_text(run, "matrix"))
    assert [figure["layout"]["title"]["text"].split(":")[0] for figure in figures] == [
        "Harmful answered (mean of 2 attacks)",
        "Best of n",
    ]


def test_each_view_of_two_runs_is_a_valid_notebook_without_a_path(run, settings):
    other = write_run(settings, name="second")
    for view in VIEWS:
        first, second = notebook_text(run, view), notebook_text(other, view)
        assert first == notebook_text(run, view) and first.replace(run.id, other.id) == second
        assert str(settings.runs) not in first and "RUN_ID" not in first


def test_the_command_writes_a_notebook_and_names_the_views_there_are(run, settings, tmp_path, capsys):
    out = tmp_path / "curves.ipynb"
    assert main(["notebook", run.id, str(out), "--runs", str(settings.runs)]) == 0
    assert nbformat.read(out, as_version=4).cells[0].source.startswith("# Curves of a run")
    assert main(["notebook", run.id, str(out), "--view", "tables", "--runs", str(settings.runs)]) == 2
    assert "There is no view 'tables': choose from curves, map, matrix." in capsys.readouterr().err
