"""Picture files, read safely: each becomes upright RGB, or is refused in words. Knows nothing of models.

What makes a picture the picture it is are its pixels as they are read here: the same pixels in another file, or under
another name, are the same picture.
"""

import hashlib
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy
from PIL import Image, ImageOps, UnidentifiedImageError

from engine.records.conversation import Picture
from engine.records.errors import DataError, first_line
from engine.records.settings import given_path, read_settings

# Those that are read by Pillow itself: others start programs, or hold what is no picture.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
# Of pixels: larger pictures are made smaller as they are read, no model here looks at so many; beyond MOST_PIXELS even
# reading them would take too much memory.
KEPT_PIXELS, MOST_PIXELS = 16_000_000, 100_000_000
# Of the files whose digests are kept in memory.
KNOWN_FILES = 65_536


class ReadPicture(NamedTuple):
    """image: upright, RGB.  sha256: of its size and pixels.  notes: what was done to it, in words."""

    image: Image.Image
    sha256: str
    notes: tuple[str, ...]


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for pictures that are made and read again, and gone afterwards: among the workbench's own, which are
    read whatever WORKBENCH_FOLDERS says."""
    cache = read_settings().cache
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="pictures-") as folder:
        yield Path(folder)


def read_picture(path: Path) -> ReadPicture:
    """A file's picture: of several frames the first, transparency on white, turned as its EXIF data say, 16 bits as 8,
    and one of more than KEPT_PIXELS made smaller.

    Raises DataError for a file that is missing, is no picture or a damaged one, or holds more than MOST_PIXELS.
    """
    if not os.path.isfile(path):
        raise DataError(f"The picture {path} does not exist: check the path.")
    notes: list[str] = []
    try:
        with warnings.catch_warnings():
            # Pillow warns of large pictures; here they have a limit of their own.
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as opened:
                image = _upright(_first_frame(opened, path, notes), notes)
    except UnidentifiedImageError as error:
        raise DataError(f"{path.name} is no picture: give a file of the kind {', '.join(FORMATS)}.") from error
    except Image.DecompressionBombError as error:
        raise _too_large(path) from error
    except DataError:
        raise
    # Damaged files raise whatever the reader of their format stumbles over.
    except Exception as error:
        raise DataError(f"The picture {path.name} is damaged: {first_line(error)} Save or fetch it again.") from error
    return ReadPicture(image, _digest(image), tuple(notes))


def picture_at(path: Path, *, alt: str = "") -> Picture:
    """The picture in a file as a part of a message. Raises DataError as read_picture does."""
    if not os.path.isfile(path):
        raise DataError(f"The picture {path} does not exist: check the path.")
    written = path.stat()
    return Picture(sha256=_known_digest(path, written.st_mtime_ns, written.st_size), file=str(path), alt=alt)


def image_of(picture: Picture) -> Image.Image:
    """The pixels that a message shows. Raises DataError as read_picture does, and where the file holds another picture
    by now."""
    if not picture.file:
        raise DataError(
            f"Nothing says where the picture {picture.sha256[:12]} lies: name its file, or give the prompt another one."
        )
    read = read_picture(file_of(picture))
    if read.sha256 != picture.sha256:
        raise DataError(
            f"The file {picture.file} holds another picture than the one that was asked about: put that one back, or "
            "ask anew."
        )
    return read.image


def file_of(picture: Picture) -> Path:
    """Where its pixels are read: where they were, else where one that a user gave is kept now, since its folder may
    have been moved with the runs. Raises DataError as given_path does."""
    file = given_path(picture.file, error=DataError)
    kept = read_settings().pictures / f"{picture.sha256}.png"
    return kept if not os.path.isfile(file) and kept.is_file() else file


@lru_cache(maxsize=KNOWN_FILES)
def _known_digest(path: Path, _written: int, _size: int) -> str:
    return read_picture(path).sha256


def _first_frame(opened: Image.Image, path: Path, notes: list[str]) -> Image.Image:
    width, height = opened.size
    if width * height > MOST_PIXELS:
        raise _too_large(path, width, height)
    frames = getattr(opened, "n_frames", 1)
    if frames > 1:
        opened.seek(0)
        notes.append(f"the first of its {frames} frames")
    if width * height > KEPT_PIXELS:
        share = (KEPT_PIXELS / (width * height)) ** 0.5
        smaller = (max(1, int(width * share)), max(1, int(height * share)))
        # A JPEG is then decoded at a half, a quarter or an eighth of its size.
        opened.draft("RGB", smaller)
        opened.thumbnail(smaller, Image.Resampling.LANCZOS)
        notes.append(f"made smaller, {width} x {height} to {opened.width} x {opened.height}")
    opened.load()
    return opened


def _upright(image: Image.Image, notes: list[str]) -> Image.Image:
    if image.mode == "I" and image.format == "TIFF":
        raise DataError("Its numbers have no known range (32-bit integers): save it with 8 bits a colour.")
    turned = ImageOps.exif_transpose(image)
    if turned.size != image.size or turned.tobytes() != image.tobytes():
        notes.append("turned upright")
    return _on_white(_eight_bits(turned, notes), notes)


def _eight_bits(image: Image.Image, notes: list[str]) -> Image.Image:
    """Pillow's own conversion would cut 16 bits off at 255."""
    if image.mode == "F":
        raise DataError("Its numbers have no known range (32-bit floats): save it with 8 bits a colour.")
    if image.mode != "I" and not image.mode.startswith("I;16"):
        return image
    notes.append("16 bits as 8")
    grey = image.convert("I").point(lambda level: level * (1 / 256)).convert("L")
    if (clear := image.info.get("transparency")) is None:
        return grey
    # One of the 65,536 levels is clear, which 8 bits tell from no neighbour.
    opaque = Image.fromarray(numpy.where(numpy.array(image) == clear, 0, 255).astype(numpy.uint8))
    return Image.merge("LA", (grey, opaque))


def _on_white(image: Image.Image, notes: list[str]) -> Image.Image:
    if image.mode not in ("LA", "PA", "RGBA", "La", "RGBa") and "transparency" not in image.info:
        return image.convert("RGB")
    notes.append("transparent parts on white")
    clear = image.convert("RGBA")
    ground = Image.new("RGBA", clear.size, "white")
    return Image.alpha_composite(ground, clear).convert("RGB")


def _digest(image: Image.Image) -> str:
    return hashlib.sha256(f"{image.width}x{image.height}:".encode() + image.tobytes()).hexdigest()


def _too_large(path: Path, width: int = 0, height: int = 0) -> DataError:
    size = f"{width} x {height} are {width * height:,} pixels" if width else f"it has far more than {MOST_PIXELS:,}"
    return DataError(
        f"The picture {path.name} is too large: {size}, and at most {MOST_PIXELS:,} can be read: make it smaller."
    )
