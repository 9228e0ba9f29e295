"""Small copies of the pictures that captured prompts show, beside the vectors: the screen fetches them one by one, and
they stay when the pictures' own files go. Knows nothing of models.

representations/<capture>/pictures/<key of the picture>.png
"""

import io
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from engine.records.captures.capture import Capture, CapturedPrompt
from engine.records.conversation import Picture
from engine.records.errors import DataError
from engine.records.files import write_whole
from engine.records.pictures import image_of

FOLDER = "pictures"
# Of the longer edge, in pixels.
EDGE = 160


def write_thumbnails(folder: Path, pictures: Iterable[Picture]) -> None:
    """One for each picture; those that are there already are left as they are."""
    for picture in dict.fromkeys(pictures):
        file = _file(folder, picture.sha256)
        # The model has seen it already: a file that went meanwhile takes nothing but its thumbnail.
        with suppress(DataError):
            if not file.is_file():
                image = image_of(picture).copy()
                image.thumbnail((EDGE, EDGE))
                written = io.BytesIO()
                image.save(written, "PNG")
                write_whole(file, written.getvalue())


def thumbnails(capture: Capture, prompt: CapturedPrompt) -> list[Path | None]:
    """The files of what a prompt shows, in its order; None for one that was not kept."""
    files = (_file(capture.folder, key) for key in prompt.pictures)
    return [file if file.is_file() else None for file in files]


def copy_thumbnails(source: Path, target: Path) -> None:
    """Those of one capture's folder into another's, with what stands beside them."""
    if (source / FOLDER).is_dir():
        shutil.copytree(source / FOLDER, target / FOLDER, dirs_exist_ok=True)


def _file(folder: Path, key: str) -> Path:
    return folder / FOLDER / f"{key}.png"
