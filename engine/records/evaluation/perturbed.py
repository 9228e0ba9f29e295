"""Pictures that an evaluation made, beside its figures."""

from pathlib import Path

from engine.records.errors import DataError
from engine.records.evaluation.findings import evaluations_folder
from engine.records.runs import Run
from engine.records.settings import Settings


def perturbation_path(run: Run, settings: Settings, name: str) -> Path:
    """Where a picture lies that an evaluation made: beside the figures, which may have come with the run. Raises
    DataError for a name that leads elsewhere."""
    if Path(name).name != name:
        raise DataError(f"A picture of an evaluation is called {name!r}: it must be the name of a file.")
    packed = run.folder / "evaluations" / name
    return packed if packed.is_file() else evaluations_folder(run, settings) / name
