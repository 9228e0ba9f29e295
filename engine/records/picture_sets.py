"""Named pictures out of packages: emoji of four designs, each with a name, perhaps a kind, and its split.

A name is held out in every design, and one design is held out with all of its pictures, so that what a model says of
unseen names and of an unseen design can be told apart. Knows nothing of models or of how packages are fetched.
"""

import json
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from engine.records.archives import EMOJIONE, FLUENT, GOOGLE, TWITTER, Archive, archive_folder
from engine.records.errors import DataError, first_line
from engine.records.prompts import fraction
from engine.records.settings import Settings, read_settings


class Design(NamedTuple):
    """folder, ending: of the pictures in the archive.  is_held_out: none of its pictures is trained on.  unnamed: code
    points that its files' names leave out."""

    archive: Archive
    folder: str
    ending: str
    is_held_out: bool = False
    unnamed: tuple[str, ...] = ()

    def file(self, root: Path, code: str) -> Path:
        """Where it draws an emoji. code: its code points as the list of names has them, such as '2764-fe0f'."""
        name = "-".join(point for point in code.split("-") if point not in self.unnamed)
        return root / self.folder / f"{name}{self.ending}"


DESIGNS = {
    "google": Design(GOOGLE, "img/google/64", ".png"),
    "fluent": Design(FLUENT, "assets", ".webp"),
    "emojione": Design(EMOJIONE, "assets/png", ".png", unnamed=("fe0f", "200d")),
    "twitter": Design(TWITTER, "img/twitter/64", ".png", is_held_out=True),
}
# By subcategory of the emoji, or all of a category whose subcategories are not told apart.
KINDS = {
    "face": ("face-*", "cat-face", "monkey-face"),
    "heart": ("heart",),
    "hand": ("hand-*", "hands"),
    "person": ("person", "person-*", "family"),
    "animal": ("animal-*",),
    "plant": ("plant-*",),
    "food": ("food-*",),
    "drink": ("drink",),
    "building": ("place-building", "place-religious"),
    "vehicle": ("transport-air", "transport-ground", "transport-water"),
    "weather": ("sky & weather",),
    "clock": ("time",),
    "flag": ("country-flag", "flag", "subdivision-flag"),
    "clothing": ("clothing",),
    "music": ("music", "musical-instrument"),
    "sport": ("sport",),
    "tool": ("tool",),
    "arrow": ("arrow",),
}
HELD_OUT_SHARE = 0.15
# Of a name: what is left tells which thing it is, so that a woman and a man of one trade are in one split.
_WHO = re.compile(r"\b(wo)?m[ae]n\b|\b(person|people|boy|girl)\b|[^a-z ]")


class NamedPicture(NamedTuple):
    """reference: package and file, as rows name it.  kind: one of KINDS, '' where none fits.  design: one of DESIGNS.
    is_held_out: by name; its design may be held out too."""

    reference: str
    file: Path
    name: str
    kind: str
    design: str
    is_held_out: bool


def named_pictures(settings: Settings, *, designs: Sequence[str] = tuple(DESIGNS)) -> list[NamedPicture]:
    """Those of some designs, in the order of names, then designs; a thing that a design does not draw is left out.

    Raises DataError where a package is not fetched, holds none of a design's pictures, or its list cannot be read.
    """
    folders = {design: need_archive(DESIGNS[design].archive, settings) for design in designs}
    found = []
    for row in _emoji(need_archive(GOOGLE, settings)):
        name, kind = _name(row), _kind(row["subcategory"])
        is_held_out = _is_held_out(name)
        for design, folder in folders.items():
            file = DESIGNS[design].file(folder, Path(row["image"]).stem)
            if file.is_file():
                reference = f"{DESIGNS[design].archive.name}/{file.relative_to(folder).as_posix()}"
                found.append(NamedPicture(reference, file, name, kind, design, is_held_out))
    missing = [design for design in designs if not any(picture.design == design for picture in found)]
    if missing:
        archive = DESIGNS[missing[0]].archive
        raise DataError(
            f"The package {archive.package} holds no picture of the design '{missing[0]}': delete its folder "
            f"{archive_folder(archive, settings)}, and fetch it again by `python -m engine fetch pictures`."
        )
    return sorted(found, key=lambda picture: (picture.name, designs.index(picture.design)))


def training_pictures(pictures: Iterable[NamedPicture]) -> list[NamedPicture]:
    """Those that may be trained on: neither name nor design is held out."""
    return [one for one in pictures if not one.is_held_out and not DESIGNS[one.design].is_held_out]


def held_out_pictures(pictures: Iterable[NamedPicture]) -> dict[str, list[NamedPicture]]:
    """What naming is measured on, of the pictures with a kind: held-out names in designs that were trained on, and
    held-out names in a design that was not."""
    of_a_kind = [one for one in pictures if one.is_held_out and one.kind]
    return {
        "names": [one for one in of_a_kind if not DESIGNS[one.design].is_held_out],
        "design": [one for one in of_a_kind if DESIGNS[one.design].is_held_out],
    }


def is_reference(text: str) -> bool:
    """Whether a row names a picture by package and file, such as 'emoji-datasource-google/img/google/64/1f52a.png'."""
    return _package(text) is not None


def referenced_file(reference: str) -> Path:
    """The file of such a picture. Raises DataError where its package is not fetched, or does not hold it."""
    archive = _package(reference)
    assert archive is not None, "only a reference leads to a file"
    inside = PurePosixPath(reference.removeprefix(f"{archive.name}/"))
    file = need_archive(archive, read_settings()) / inside
    if inside.is_absolute() or ".." in inside.parts or not file.is_file():
        raise DataError(f"The package {archive.package} holds no picture {inside}: correct the row.")
    return file


def _package(text: str) -> Archive | None:
    archives = (design.archive for design in DESIGNS.values())
    return next((archive for archive in archives if text.startswith(f"{archive.name}/")), None)


def need_archive(archive: Archive, settings: Settings) -> Path:
    """The folder of a fetched package. Raises DataError where it is not there."""
    folder = archive_folder(archive, settings)
    if not folder.is_dir():
        raise DataError(
            f"The pictures of the package {archive.package} are not here: fetch them once by "
            "`python -m engine fetch pictures`."
        )
    return folder


def are_to_be_fetched() -> bool:
    """Whether the package of some design is not there yet."""
    settings = read_settings()
    return not all(archive_folder(design.archive, settings).is_dir() for design in DESIGNS.values())


def _emoji(folder: Path) -> list[dict[str, Any]]:
    """The rows of emoji.json with a name of their own; of two under one name the first."""
    file = folder / "emoji.json"
    return list(_read_emoji(file, file.stat().st_mtime_ns if file.is_file() else 0))


@lru_cache(maxsize=4)
def _read_emoji(file: Path, _written: int) -> tuple[dict[str, Any], ...]:
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
        named = {_name(row): row for row in reversed(rows) if row["image"] and row["subcategory"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"The list of pictures {file} cannot be read: {first_line(error)} Delete the folder {file.parent}, and "
            "fetch it again by `python -m engine fetch pictures`."
        ) from error
    return tuple(named.values())


def _name(row: dict[str, Any]) -> str:
    """As people say it: lower case, flags by their country."""
    name = str(row.get("name") or row["short_name"]).lower().replace("_", " ")
    if str(row["subcategory"]).endswith("flag"):
        name = f"flag of {name.removeprefix('flag:').removesuffix(' flag').strip()}"
    return " ".join(name.split())


def _kind(subcategory: str) -> str:
    return next((kind for kind, patterns in KINDS.items() if any(_fits(subcategory, one) for one in patterns)), "")


def _fits(subcategory: str, pattern: str) -> bool:
    return subcategory.startswith(pattern[:-1]) if pattern.endswith("*") else subcategory == pattern


def _is_held_out(name: str) -> bool:
    return fraction(f"picture name:{' '.join(_WHO.sub(' ', name).split())}") < HELD_OUT_SHARE
