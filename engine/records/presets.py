"""The presets that ship: ordinary spec files with a name. Knows nothing of forms or runs."""

import os
import re
from pathlib import Path

from engine.records.errors import SpecError
from engine.records.settings import SAMPLE_DATA
from engine.records.spec import RunSpec
from engine.records.spec_text import read_spec

PRESETS = SAMPLE_DATA / "presets"
# Shown in this order; others follow by name.
FIRST = ("quick", "quick-qwen", "default", "default-qwen", "tools", "pictures", "strongest")


def preset_names() -> list[str]:
    """All presets, the quick one first."""
    names = sorted(path.stem for path in PRESETS.glob("*.json"))
    return [name for name in FIRST if name in names] + [name for name in names if name not in FIRST]


def read_preset(name: str) -> RunSpec:
    """Raises SpecError where there is no such preset, or its file is damaged."""
    if name not in preset_names():
        raise SpecError(
            f"There is no preset {name!r:.60}: choose {', '.join(preset_names())}, or give a spec file's path."
        )
    return read_spec(PRESETS / f"{name}.json")


def named_spec(given: str) -> RunSpec:
    """A spec file, or a preset by its name; a file of that name comes first. Raises SpecError."""
    # What is no path is a name.
    return (
        read_preset(given) if re.fullmatch(r"[\w-]+", given) and not os.path.isfile(given) else read_spec(Path(given))
    )
