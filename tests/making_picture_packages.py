"""Stand-ins for the packages of pictures: as fetched, or as npm packs them. No fixtures."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

from making_seers import painted

from engine.records.archives import GOOGLE, Archive, archive_folder
from engine.records.picture_sets import DESIGNS
from engine.records.settings import Settings

ROWS = (
    ("1f436", "DOG FACE", "animal-mammal"),
    ("1f431", "CAT FACE", "animal-mammal"),
    ("1f41d", "HONEYBEE", "animal-bug"),
    ("1f34e", "RED APPLE", "food-fruit"),
    ("1f34c", "BANANA", "food-fruit"),
    ("1f697", "AUTOMOBILE", "transport-ground"),
    ("1f6b2", "BICYCLE", "transport-ground"),
    ("1f528", "HAMMER", "tool"),
    ("1f468-200d-1f692", "MAN FIREFIGHTER", "person-role"),
    ("1f469-200d-1f692", "WOMAN FIREFIGHTER", "person-role"),
    ("1f1e8-1f1ed", "FLAG: SWITZERLAND", "country-flag"),
    ("1f4e6", "PACKAGE", "mail"),
)


def write_picture_packages(settings: Settings, *, designs: tuple[str, ...] = tuple(DESIGNS)) -> None:
    """A dozen painted things in each design, as if they had been fetched."""
    for number, design in enumerate(designs):
        card = DESIGNS[design]
        folder = archive_folder(card.archive, settings)
        folder.mkdir(parents=True)
        for index, (code, *_) in enumerate(ROWS):
            painted(card.file(folder, code), size=(64, 64), seed=100 * number + index)
    emoji = archive_folder(GOOGLE, settings) / "emoji.json"
    emoji.write_text(
        json.dumps([{"name": name, "image": f"{code}.png", "subcategory": kind} for code, name, kind in ROWS])
    )


def npm_archive(file: Path, archive: Archive, contents: dict[str, bytes]) -> Archive:
    """Write what npm packs, and return the archive with its size and checksum."""
    with tarfile.open(file, "w:gz") as packed:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
    data = file.read_bytes()
    return archive._replace(bytes=len(data), kept_bytes=1000, sha256=hashlib.sha256(data).hexdigest())
