"""Pictures on the screen: small enough to be sent often, harmful ones as a few blurred colours until they are revealed.

The pixels themselves do not reach the browser before. Knows nothing of where a picture comes from.
"""

import io
from functools import lru_cache

import streamlit as st
from PIL import Image, ImageFilter

from engine.records.conversation import Picture
from engine.records.errors import DataError
from engine.records.pictures import file_of, image_of
from workbench.kit.words import plain

# Of the longer edge, in pixels.
LARGEST, THUMBNAIL = 640, 160
# So many fields of colour stand for a hidden picture along each edge.
FIELDS = 5
KEPT = 128
HIDDEN_ALT = "A picture, hidden until it is revealed"


def harmful_picture(picture: Picture, *, hidden: bool, edge: int = LARGEST) -> None:
    """A picture as it is, or fields of its colours. One whose file is gone says so."""
    try:
        png = picture_png(picture, hidden=hidden, edge=edge)
    except DataError as error:
        st.caption(plain(str(error)))
        return
    st.image(png, alt=HIDDEN_ALT if hidden else picture.alt or "A picture without a description", width="content")


def picture_png(picture: Picture, *, hidden: bool, edge: int = LARGEST) -> bytes:
    """The picture no larger than `edge`, or what stands for it. Raises DataError as image_of does."""
    return _png(picture, hidden, edge, written(picture))


def picture_size(picture: Picture) -> tuple[int, int]:
    """Width and height in pixels. Raises DataError as image_of does."""
    return _size(picture, written(picture))


def written(picture: Picture) -> int | None:
    """When its file was (ns): what was deleted or changed meanwhile is not shown out of memory."""
    file = file_of(picture) if picture.file else None
    return file.stat().st_mtime_ns if file and file.is_file() else None


def fitted(image: Image.Image, edge: int) -> Image.Image:
    """A copy no larger than `edge` along its longer edge, and no smaller than a thumbnail: small pictures grow, their
    pixels sharp."""
    share = max(THUMBNAIL, min(edge, max(image.size))) / max(image.size)
    size = (max(1, round(image.width * share)), max(1, round(image.height * share)))
    return image.resize(size, Image.Resampling.NEAREST if share > 1 else Image.Resampling.LANCZOS)


@lru_cache(maxsize=KEPT)
def _size(picture: Picture, _written: int | None) -> tuple[int, int]:
    return image_of(picture).size


@lru_cache(maxsize=KEPT)
def _png(picture: Picture, hidden: bool, edge: int, _written: int | None) -> bytes:
    image = image_of(picture)
    shown = fitted(image, edge)
    if hidden:
        fields = shown.resize((FIELDS, FIELDS), Image.Resampling.BOX)
        shown = fields.resize(shown.size, Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(edge / 40))
    out = io.BytesIO()
    shown.save(out, "PNG")
    return out.getvalue()
