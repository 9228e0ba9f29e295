"""What killed processes left behind is removed when a worker starts, and what is at work is not."""

import os
import time
from pathlib import Path

import pytest

from engine.commands import worker as worker_command
from engine.records.leftovers import LONGEST_DELETION, LONGEST_MAKING, remove_leftovers
from engine.records.settings import Settings

DELETED = (
    "runs/.deleted-20260101-000000-abcdef-12345678",
    "runs/20260101-000000-abcdef/.deleted-20260102-000000-abcdef-12345678",
    "runs/.workbench/.deleted-20260103-000000-abcdef-12345678",
)
MADE = (
    "models/.assembling-abc",
    "projectors/one/.assembling-abc",
    "pictures-abc",
    "packages/.fetching-abc",
    "packages/@scope/.fetching-abc",
)
# A download that goes on where it was, a finished package, a run, the desk.
KEPT = ("models/.fetching-Qwen", "packages/one==1.0", "runs/20260101-000000-abcdef", "runs/.workbench")


@pytest.fixture
def house(tmp_path: Path) -> Settings:
    for name in (*DELETED, *MADE, *KEPT):
        (tmp_path / name / "inside").mkdir(parents=True)
        (tmp_path / name / "inside" / "file").write_text("x")
    return Settings(runs=tmp_path / "runs", cache=tmp_path)


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + seconds)


def names(found: list[Path], house: Settings) -> set[str]:
    return {path.relative_to(house.cache).as_posix() for path in found}


def test_what_may_be_at_work_stays(house: Settings, monkeypatch: pytest.MonkeyPatch):
    later(monkeypatch, LONGEST_DELETION - 60)
    assert remove_leftovers(house) == []
    later(monkeypatch, LONGEST_DELETION + 120)
    assert names(remove_leftovers(house), house) == {*DELETED}


def test_what_has_lain_for_long_goes_and_all_else_stays(house: Settings, monkeypatch: pytest.MonkeyPatch):
    (house.cache / "models" / ".assembling-link").symlink_to(house.cache / "packages" / "one==1.0")
    later(monkeypatch, LONGEST_MAKING + 60)
    assert names(remove_leftovers(house), house) == {*DELETED, *MADE}
    assert all((house.cache / name / "inside" / "file").is_file() for name in KEPT)
    assert not any((house.cache / name).exists() for name in (*DELETED, *MADE))


def test_a_folder_that_is_still_written_to_stays(house: Settings, monkeypatch: pytest.MonkeyPatch):
    later(monkeypatch, LONGEST_MAKING + 60)
    real = time.time()
    os.utime(house.cache / MADE[0] / "inside" / "file", (real, real))
    assert names(remove_leftovers(house), house) == {*DELETED, *MADE[1:]}


def test_a_worker_begins_with_it(house: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("engine.worker.Worker.serve", lambda _: None)
    monkeypatch.setattr(worker_command, "hear", lambda _: None)
    monkeypatch.setattr("psutil.Process.nice", lambda *_: 0)
    later(monkeypatch, LONGEST_MAKING + 60)
    worker_command.serve(house, processes=1)
    assert not (house.cache / DELETED[0]).exists() and (house.cache / KEPT[0]).is_dir()


def test_folders_that_are_not_there_are_no_fault(tmp_path: Path):
    assert remove_leftovers(Settings(runs=tmp_path / "runs", cache=tmp_path / "cache")) == []
