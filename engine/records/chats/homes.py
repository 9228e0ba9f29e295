"""Where chats and answered sets are kept: with the first run that is asked, or on the desk. Knows neither."""

from collections.abc import Iterable
from pathlib import Path

from engine.records.checkpoints import Checkpoint
from engine.records.errors import WorkbenchError
from engine.records.runs import list_runs, open_run
from engine.records.settings import Settings


def home_of(settings: Settings, checkpoints: Iterable[Checkpoint]) -> Path:
    """The folder of the first run that is asked; the desk for the base model and for runs that ship."""
    for checkpoint in checkpoints:
        if not checkpoint.is_base:
            try:
                run = open_run(settings.runs, checkpoint.run_id)
            except WorkbenchError:
                continue
            if not run.read_only:
                return run.folder
    return settings.desk


def folders_of(settings: Settings, kind: str) -> list[Path]:
    """What is kept under this name beside all runs and on the desk, newest first."""
    homes = [settings.desk, *(run.folder for run in list_runs(settings.runs) if not run.read_only)]
    found = [folder for home in homes for folder in (home / kind).glob("*") if folder.is_dir()]
    return sorted(found, key=lambda folder: folder.name, reverse=True)
