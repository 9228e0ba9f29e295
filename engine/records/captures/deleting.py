"""Deleting a capture, whole or damaged, with what was made of it. Knows nothing of screens."""

import shutil
from pathlib import Path

from engine.records.captures.capture import INDEX_FILE, TRAINING
from engine.records.errors import RunError
from engine.records.files import storage_error
from engine.records.runs import ACTIVE, Run


def is_deletable(run: Run | None, folder: Path) -> bool:
    """Whether a capture neither ships with its run nor is added to as the run trains. run: None for the base model."""
    if run is None:
        return True
    return not run.is_fixed(folder) and not (folder.name == TRAINING and run.record().status in ACTIVE)


def delete_capture(run: Run | None, folder: Path) -> None:
    """Remove a capture for good. Raises RunError for one that is not deletable, or that the disk holds on to."""
    if not is_deletable(run, folder):
        raise RunError(
            f"The capture {folder.name} ships with its run, or the run still adds to it: it cannot be deleted now."
        )
    try:
        # What breaks off in between is no capture any more.
        (folder / INDEX_FILE).unlink(missing_ok=True)
        shutil.rmtree(folder)
    except OSError as error:
        raise storage_error(folder, error) from error
