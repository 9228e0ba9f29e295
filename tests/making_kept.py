"""Runs that are trained once for all tests of a file, each of which gets a copy of its own. No fixtures."""

import shutil
from pathlib import Path

import pytest
from making import drain

from engine.__main__ import main
from engine.device import Device
from engine.jobs.training import Intent, train_run
from engine.records.runs import Run, create_run, list_runs
from engine.records.settings import Settings
from engine.records.spec import RunSpec


def trained_by_command(folder: Path, spec: RunSpec) -> Run:
    """A run that `python -m engine train` made, in a folder of runs of its own."""
    file, settings = folder / "spec.json", _settings_in(folder)
    file.write_text(spec.to_json())
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("WORKBENCH_CACHE", str(settings.cache))
        assert main(["train", str(file), "--runs", str(settings.runs)]) == 0
    [run] = list_runs(settings.runs)
    return run


def trained_by_job(folder: Path, spec: RunSpec) -> Run:
    """A finished run with its events written down, as the worker does."""
    settings = _settings_in(folder)
    made = create_run(settings.runs, spec)
    events, _ = drain(train_run(made, tools=Device(settings).tools(1), controls=[], intent=Intent()))
    for event in events:
        if event is not None:
            made.append(event)
    made.update(status="finished", step=spec.optimizer.steps)
    return made


def _settings_in(folder: Path) -> Settings:
    return Settings(runs=folder / "runs", cache=folder / "cache")


def copied(made: Run, settings: Settings) -> Run:
    """A test's own copy of a run that was trained once for all tests of a file: it may change it as it likes."""
    return Run(shutil.copytree(made.folder, settings.runs / made.id))
