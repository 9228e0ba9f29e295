"""A small model and prompt files for workers of several processes."""

from pathlib import Path

import pytest
from making import write_prompts, write_tiny_model


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("several")
    write_tiny_model(folder / "tiny", blocks=3)
    for kind in ("harmful", "benign"):
        write_prompts(folder / f"{kind}.jsonl", kind=kind, rows=24)
    return folder


@pytest.fixture(autouse=True)
def followers_are_forked(forked_workers: str) -> None:
    """The other processes of a team."""
