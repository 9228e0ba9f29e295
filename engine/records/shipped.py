"""Which of the runs that ship Home and the lessons are about."""

from pathlib import Path

from engine.records.runs import Run, list_runs
from engine.records.spec_parts import BUNDLED_MODEL


def shipped_run(runs: Path) -> Run | None:
    """The one of the bundled model, for which nothing need be fetched. None where the runs that ship are hidden."""
    shipped = (run for run in list_runs(runs) if run.read_only)
    return next((run for run in shipped if run.spec().model.name == BUNDLED_MODEL), None)
