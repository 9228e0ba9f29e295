"""What is made as a folder is there whole or not at all, and what a user had there stays."""

from pathlib import Path

import pytest

from engine.records.errors import RunError
from engine.records.files import whole_or_nothing


def broken_off(folder: Path, error: BaseException) -> None:
    with whole_or_nothing(folder):
        (folder / "inside").mkdir(parents=True)
        (folder / "inside" / "half").write_text("half")
        (folder / "other half").write_text("half")
        raise error


@pytest.mark.parametrize("error", [ValueError("broken off"), KeyboardInterrupt(), OSError(28, "No space left")])
def test_what_breaks_off_leaves_nothing_behind_but_what_was_there(tmp_path, error):
    new, empty, used = (tmp_path / name for name in ("new", "empty", "used"))
    empty.mkdir(mode=0o750)
    used.mkdir()
    (used / "mine").write_text("mine")
    for folder in (new, empty, used):
        with pytest.raises(RunError if isinstance(error, OSError) else type(error)):
            broken_off(folder, error)
    assert not new.exists()
    assert empty.is_dir() and not list(empty.iterdir()) and empty.stat().st_mode & 0o777 == 0o750
    assert (used / "mine").read_text() == "mine"
