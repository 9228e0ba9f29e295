"""Versions of what decides a result, as they are installed. Imports none of it."""

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

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
