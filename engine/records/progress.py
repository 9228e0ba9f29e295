"""How far a step in another process is: a file that it replaces and that whoever waits for it reads.

Knows nothing of the step or of processes.
"""

from pathlib import Path

from engine.records.events import Progress

# Loading its libraries takes a fresh process about this long on two cores, and this share of a map's bar.
LOADING_SECONDS = 8.0
LOADING_SHARE = 0.1


def say(progress: Path | None, message: str, share: float) -> None:
    """Write what is being done, and which share of all is done, 0 to 1. None: nobody asks."""
    tell(progress, in_percent(message, share))


def tell(progress: Path | None, event: Progress) -> None:
    """Write how far it is. None: nobody asks."""
    if progress is not None:
        progress.parent.mkdir(parents=True, exist_ok=True)
        # Renamed, so that no half of it is read.
        temporary = progress.with_name(f".{progress.name}.part")
        temporary.write_text(event.model_dump_json(), encoding="utf-8")
        temporary.replace(progress)


def said(progress: Path | None) -> Progress | None:
    """What was said last; None where nothing was."""
    try:
        return Progress.model_validate_json(progress.read_bytes()) if progress else None
    except (OSError, ValueError):
        return None


def loading(message: str, seconds: float) -> Progress:
    """How far loading is after so many seconds: an estimate by time, which never says that it is done."""
    return in_percent(message, LOADING_SHARE * min(0.99, seconds / LOADING_SECONDS))


def in_percent(message: str, share: float) -> Progress:
    return Progress(phase="", message=message, done=round(1000 * share), total=1000, unit="%")
