"""Changes of colours that were made for many pictures at once, as files: a picture around middle grey, each colour
moved by as much as it moves a picture's. Knows nothing of models.
"""

from pathlib import Path

from engine.records.evaluation.counts import Side

MIDDLE = 128
# What a picture around the middle can hold.
MOST_EPSILON = 127
HALVES = 2


def perturbation_file(half: int) -> str:
    """The name of the change that was made on the rows outside of a half, and tried on those in it."""
    return f"tried-on-half-{half + 1}.png"


def kept_name(key: str, attack: str, side: Side, half: int) -> str:
    """The name of the same file beside an evaluation's figures."""
    return f"{key}.{attack}.{side}.{perturbation_file(half)}"


def perturbation_files(folder: Path) -> list[Path]:
    """Those that an attack left in its folder, by halves; [] where they are gone."""
    files = [folder / perturbation_file(half) for half in range(HALVES)]
    return files if all(file.is_file() for file in files) else []
