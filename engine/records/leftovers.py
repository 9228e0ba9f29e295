"""What a process that was killed left half made or half deleted. Knows of folders alone."""

import logging
import shutil
import time
from contextlib import suppress
from pathlib import Path

from engine.records.settings import Settings

log = logging.getLogger("workbench.worker")

# A folder younger than this may be at work: seconds.
LONGEST_DELETION, LONGEST_MAKING = 3600.0, 24 * 3600.0


def remove_leftovers(settings: Settings) -> list[Path]:
    """Remove what no process goes on with: deleted runs and chats, models and packages half made, and pictures in
    passing, that have lain untouched for longer than any takes. Returns what was removed; what cannot be is left."""
    places = (
        (settings.runs, ".deleted-*", LONGEST_DELETION),
        # Of chats, answered sets and attacks on pictures.
        (settings.runs, "*/.deleted-*", LONGEST_DELETION),
        (settings.desk, ".deleted-*", LONGEST_DELETION),
        (settings.models, ".assembling-*", LONGEST_MAKING),
        (settings.cache / "projectors", "*/.assembling-*", LONGEST_MAKING),
        # Of attacks and questions on pictures.
        (settings.cache, "pictures-*", LONGEST_MAKING),
        (settings.cache / "packages", ".fetching-*", LONGEST_MAKING),
        # Of a package with a scope.
        (settings.cache / "packages", "@*/.fetching-*", LONGEST_MAKING),
    )
    removed = []
    for home, names, longest in places:
        for folder in sorted(home.glob(names)):
            with suppress(OSError):
                if folder.is_symlink() or not folder.is_dir() or time.time() - _touched(folder) < longest:
                    continue
                shutil.rmtree(folder)
                log.info("removed %s, which a process left behind", folder.name)
                removed.append(folder)
    return removed


def _touched(folder: Path) -> float:
    """When anything in a folder was last written, made or renamed, by the clock of its disk."""
    newest = 0.0
    for path in (folder, *folder.rglob("*")):
        state = path.lstat()
        newest = max(newest, state.st_mtime, state.st_ctime)
    return newest
