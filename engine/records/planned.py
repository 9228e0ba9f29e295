"""Evaluations that are to follow the training of a run that was taken home from a cluster: planned.json in its folder.

Knows nothing of queues.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from engine.records.files import storage_error, write_whole
from engine.records.runs import Run

FILE = "planned.json"


def plan(run: Run, evaluations: Sequence[dict[str, Any]]) -> None:
    """Raises RunError when the disk is full."""
    write_whole(run.folder / FILE, json.dumps(list(evaluations)))


def planned(run: Run) -> list[dict[str, Any]]:
    """Plans of evaluations; none where nothing was planned, or where the file is damaged."""
    with suppress(OSError, ValueError):
        content = json.loads((run.folder / FILE).read_text(encoding="utf-8"))
        return [one for one in content if isinstance(one, dict)] if isinstance(content, list) else []
    return []


def forget_planned(run: Run) -> None:
    """They are queued. Raises RunError where the folder cannot be written."""
    try:
        (run.folder / FILE).unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(run.folder / FILE, error) from error
