"""What a run is called by people when its user gave it no name. Knows nothing of files."""

import time
from collections.abc import Collection

LONGEST = 60


def derived_name(preset: str, created: float) -> str:
    """'quick, 26 Nov 06:20': the preset and the local time at which the run was created."""
    return f"{preset[:LONGEST] or 'own settings'}, {spoken_time(created)}"


def fresh_name(preset: str, created: float, *, taken: Collection[str]) -> str:
    """The derived name, with ' (2)' and so on behind it where another run has it already."""
    name = derived_name(preset, created)
    number = 1
    while (fresh := name if number == 1 else f"{name} ({number})") in taken:
        number += 1
    return fresh


def spoken_time(seconds: float) -> str:
    """A local date and time: '23 Nov 22:10'."""
    return time.strftime("%d %b %H:%M", time.localtime(seconds))
