"""Pictures that a user gave, kept as files of the workbench: the same picture twice is one. Knows nothing of models.

DESK/pictures/SHA256.png    its pixels as engine.records.pictures reads them, without whatever else the file said
              SHA256.json   what it was called, written last
"""

import io
import tempfile
import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.records.conversation import Picture
from engine.records.errors import DataError
from engine.records.files import write_whole
from engine.records.pictures import read_picture
from engine.records.settings import Settings
from engine.records.versions import FORMAT, FormatVersion

# Of an uploaded file.
MOST_MEGABYTES = 25
MEGABYTE = 2**20
NAME_LETTERS = 80
NAME_BYTES = 200


class KeptPicture(BaseModel):
    """name: of the file it came in first.  notes: what was done to it as it was read, in words.  attack: the attack on
    its pixels that made it, '' for none.  harmful: whether it was given as one that is hidden until it is revealed."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    name: str
    width: int
    height: int
    notes: tuple[str, ...] = ()
    attack: str = ""
    harmful: bool = False
    created: float = Field(default_factory=time.time)
    version: FormatVersion = FORMAT

    def part(self, settings: Settings) -> Picture:
        """As a part of a message."""
        return Picture(sha256=self.sha256, file=str(settings.pictures / f"{self.sha256}.png"), alt=self.name)


def keep_picture(
    settings: Settings, content: bytes, name: str, *, attack: str = "", harmful: bool = False
) -> KeptPicture:
    """Keep the picture of a file's bytes; one that is kept already stays under the name that it has, and harmful once
    it was given so.

    attack: the id of the attack here that made it, whose file may be of any size. Raises DataError for an empty file,
    for one that is too large to be uploaded, and as read_picture does; RunError where the disk is full.
    """
    # No more bytes than a file's name may have, either.
    shown = Path(name).name[:NAME_LETTERS].encode()[:NAME_BYTES].decode(errors="ignore") or "picture"
    if not content:
        raise DataError(f"The file {shown} is empty: choose another one.")
    if not attack and len(content) > MOST_MEGABYTES * MEGABYTE:
        raise DataError(
            f"The file {shown} has {len(content) / MEGABYTE:.0f} MB, and at most {MOST_MEGABYTES} can be uploaded: "
            "make the picture smaller."
        )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / shown
        file.write_bytes(content)
        read = read_picture(file)
    place = settings.pictures
    described = place / f"{read.sha256}.json"
    if (known := _read(described)) is not None:
        if harmful and not known.harmful:
            known = known.model_copy(update={"harmful": True})
            write_whole(described, known.model_dump_json(indent=1))
        return known
    drawn = io.BytesIO()
    read.image.save(drawn, "PNG")
    kept = KeptPicture(
        sha256=read.sha256,
        name=shown,
        width=read.image.width,
        height=read.image.height,
        notes=read.notes,
        attack=attack,
        harmful=harmful,
    )
    write_whole(place / f"{read.sha256}.png", drawn.getvalue())
    write_whole(described, kept.model_dump_json(indent=1))
    return kept


def label_picture(settings: Settings, sha256: str, *, harmful: bool) -> None:
    """Say of a kept picture whether it is hidden until it is revealed; of one that is gone nothing is said. Raises
    RunError where the disk is full."""
    described = settings.pictures / f"{sha256}.json"
    if (known := _read(described)) is not None:
        write_whole(described, known.model_copy(update={"harmful": harmful}).model_dump_json(indent=1))


def kept_pictures(settings: Settings) -> list[KeptPicture]:
    """All of them, the newest first; what is damaged is left out."""
    found = (_read(file) for file in settings.pictures.glob("*.json"))
    return sorted((one for one in found if one is not None), key=lambda one: (-one.created, one.sha256))


def forget_picture(settings: Settings, sha256: str) -> None:
    """Delete a kept picture. What was asked about it stays, and says that its file is gone."""
    for ending in ("json", "png"):
        (settings.pictures / f"{sha256}.{ending}").unlink(missing_ok=True)


def _read(file: Path) -> KeptPicture | None:
    try:
        kept = KeptPicture.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None
    return kept if file.with_suffix(".png").is_file() else None
