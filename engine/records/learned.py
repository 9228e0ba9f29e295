"""What a run has learned, and throwing it away. Knows nothing of models."""

import shutil

from engine.records.harmfulness import HARMFULNESS
from engine.records.runs import Run


def throw_away(run: Run) -> None:
    """Remove what a run has learned; its spec and its curves stay."""
    learned = (run.checkpoints_folder, run.adapter_folder, run.representations_folder, run.folder / HARMFULNESS)
    for folder in learned:
        shutil.rmtree(folder, ignore_errors=True)
