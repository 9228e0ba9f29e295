"""Versions of what decides a result, as they are installed. Imports none of it."""

import hashlib
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from engine.records.settings import ROOT

PACKAGES = ("torch", "transformers", "peft", "accelerate")


def versions() -> dict[str, str]:
    """By name; what is not installed is left out."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@cache
def sources_digest() -> str:
    """Of the engine's own files as they were when this process first asked: two processes with another one were started
    from other versions of the workbench."""
    digest = hashlib.sha256()
    for file in sorted((ROOT / "engine").rglob("*.py")):
        digest.update(file.relative_to(ROOT).as_posix().encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def differing(here: Mapping[str, str], there: Mapping[str, str]) -> str:
    """Which packages differ, in words: 'torch 2.12.0 in place of 2.13.0'; '' where none does.

    there: what the result so far was made with. Python itself decides no result, and packages that one side does not
    know are not compared.
    """
    return ", ".join(
        f"{name} {here[name]} in place of {there[name]}"
        for name in PACKAGES
        if name in here and name in there and here[name] != there[name]
    )
