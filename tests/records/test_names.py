"""What a run is called when its user gave it no name."""

import json
import time

import pytest

from engine.__main__ import main
from engine.records.errors import RunError
from engine.records.names import derived_name, fresh_name
from engine.records.runs import create_run, open_run
from engine.records.spec import RunSpec


@pytest.fixture(autouse=True)
def clock_of_london(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TZ", "Europe/London")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_a_name_is_the_preset_and_the_local_time():
    """1795674000 is 26 November 2026, 06:20 in London; London is on universal time in winter."""
    assert derived_name("quick", 1795674000.0) == "quick, 26 Nov 06:20"
    assert derived_name("", 1795674000.0) == "own settings, 26 Nov 06:20"


def test_a_name_that_is_taken_gets_the_next_number():
    taken = {"quick, 26 Nov 06:20", "quick, 26 Nov 06:20 (2)"}
    assert fresh_name("quick", 1795674000.0, taken=taken) == "quick, 26 Nov 06:20 (3)"


def test_two_runs_of_one_minute_have_names_of_their_own_and_a_given_name_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1795674000.0)
    first, second = (create_run(tmp_path, RunSpec(), preset="quick") for _ in range(2))
    assert [first.name, second.name] == ["quick, 26 Nov 06:20", "quick, 26 Nov 06:20 (2)"]
    assert create_run(tmp_path, RunSpec(), preset="quick", name=" mine ").name == "mine"


def test_a_run_of_before_is_called_by_its_record_and_nothing_is_written(tmp_path):
    run = create_run(tmp_path, RunSpec(), preset="default")
    run.update(created=1795674000.0)
    (run.folder / "label.json").unlink()
    assert run.name == "default, 26 Nov 06:20"
    assert not (run.folder / "label.json").exists()
    (run.folder / "record.json").write_text("{")
    assert run.name == run.id


def test_the_command_that_lists_runs_says_their_names(tmp_path, capsys):
    create_run(tmp_path, RunSpec(), preset="quick")
    old = create_run(tmp_path, RunSpec(), preset="default")
    old.update(created=1795674000.0)
    (old.folder / "label.json").unlink()
    assert main(["runs", "--runs", str(tmp_path)]) == 0
    assert "default, 26 Nov 06:20" in capsys.readouterr().out
    assert main(["runs", "--json", "--runs", str(tmp_path)]) == 0
    assert "default, 26 Nov 06:20" in {row["name"] for row in json.loads(capsys.readouterr().out)}


def test_a_name_for_a_run_that_was_deleted_meanwhile_is_refused_and_brings_no_folder_back(tmp_path):
    run = create_run(tmp_path, RunSpec())
    stale = open_run(tmp_path, run.id)
    for file in run.folder.iterdir():
        file.unlink()
    run.folder.rmdir()
    with pytest.raises(RunError, match="was deleted"):
        stale.set_label(name="late", note="")
    assert not run.folder.exists()
