"""What tests check of shapes and types while the engine computes: see `addopts` in pyproject.toml."""

from typing import Any

from beartype import beartype


def beartype_once(checked: Any) -> Any:
    """beartype for what a module or class defines. A function inside another is defined, and would be wrapped, anew at
    each call: of a small model's training that took a third."""
    return checked if "<locals>" in checked.__qualname__ else beartype(checked)
