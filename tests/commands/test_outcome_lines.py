"""What the command line says of a run's outcome."""

import json

from forking import engine

from engine.records.evaluation.findings import read_evaluations
from engine.records.runs import create_run, list_runs
from engine.records.spec import RunSpec


def test_train_in_the_foreground_evaluates_too_and_says_the_outcome(settings, tiny_spec, tmp_path):
    (tmp_path / "spec.json").write_text(tiny_spec(**{"captures.evaluation_rows": 2}).to_json())
    result = engine("train", str(tmp_path / "spec.json"), "--runs", str(settings.runs))
    assert result.returncode == 0, result.stderr
    (run,) = list_runs(settings.runs)
    assert result.stdout.strip() == run.id and run.record().evaluation == "done"
    (found,) = read_evaluations(run, settings)
    assert found.benign_answers["base"].n == 2
    assert "Harmful requests answered" in result.stderr

    another = create_run(settings.runs, RunSpec(), name="another")
    listed = {row["id"]: row for row in json.loads(_listed(settings, "--json"))}
    assert listed[run.id]["outcome"]["evaluation"] == found.key
    assert listed[another.id]["outcome"]["word"] == "not measured"
    assert listed[run.id]["outcome"]["word"] in _listed(settings)


def _listed(settings, *options: str) -> str:
    return engine("runs", *options, "--runs", str(settings.runs)).stdout
