"""Notebooks of views, made of the cells of a view and the run's id. They hold no figures yet and no path."""

from importlib.resources import files
from typing import Literal, get_args

import nbformat
from nbformat import v4

from engine.records.errors import RunError
from engine.records.runs import Run

View = Literal["curves", "map", "matrix"]
VIEWS: tuple[View, ...] = get_args(View)
CELL, TEXT = "# %%\n", "# %% [markdown]\n"


def notebook_text(run: Run, view: str) -> str:
    """The notebook as JSON. Raises RunError for a view that there is not."""
    if view not in VIEWS:
        raise RunError(f"There is no view '{view}': choose from {', '.join(VIEWS)}.")
    source = (files("engine.exports.notebook") / "cells" / f"{view}.py").read_text(encoding="utf-8")
    notebook = v4.new_notebook(cells=[_cell(part) for part in _parts(source.replace("RUN_ID", run.id))])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    # Ids are drawn by chance: the same view of the same run is the same file.
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"{view}-{number}"
    nbformat.validate(notebook)
    return nbformat.writes(notebook)


def _parts(source: str) -> list[str]:
    """Cells with the line that begins each."""
    return ["# %%" + part for part in source.split("# %%")[1:]]


def _cell(part: str) -> nbformat.NotebookNode:
    if part.startswith(TEXT):
        lines = part.removeprefix(TEXT).strip().splitlines()
        return v4.new_markdown_cell("\n".join(line.removeprefix("#").removeprefix(" ") for line in lines))
    return v4.new_code_cell(part.removeprefix(CELL).strip())
