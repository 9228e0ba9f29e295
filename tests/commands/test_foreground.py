"""A training in the foreground has the machine to itself."""

import pytest

from engine.__main__ import main
from engine.commands.foreground import UNASKED_SECONDS
from engine.device import Device
from engine.records.prompt_files import file_hashes
from engine.records.runs import list_runs
from engine.records.settings import ROOT


@pytest.fixture(autouse=True)
def no_worker(monkeypatch):
    monkeypatch.setattr("engine.commands.foreground.hear", lambda _: None)
    monkeypatch.setattr("engine.commands.foreground.ensure_worker", lambda _: None)


def test_it_may_keep_the_machine_longer_at_a_stretch(settings, lasting_spec, tmp_path, monkeypatch):
    """Nobody asks a chat beside it: no other job of its folder is taken."""
    kept = []
    monkeypatch.setattr("engine.worker.Worker.serve", lambda self, until: kept.append(self.device.tools(1)))
    (tmp_path / "spec.json").write_text(lasting_spec().to_json())
    assert main(["train", str(tmp_path / "spec.json"), "--runs", str(settings.runs)]) == 1
    [tools] = kept
    assert tools.advance_seconds == UNASKED_SECONDS > Device(settings).tools(1).advance_seconds


def test_a_run_whose_prompts_are_not_there_is_not_made(settings, tiny_spec, tmp_path, capsys):
    (tmp_path / "spec.json").write_text(tiny_spec(**{"data.retain": str(tmp_path / "gone.jsonl")}).to_json())
    assert main(["train", str(tmp_path / "spec.json"), "--runs", str(settings.runs)]) == 2
    assert "gone.jsonl" in capsys.readouterr().err and list_runs(settings.runs) == []


def test_it_reads_the_files_that_a_worker_reads_who_resumes_it(settings, tiny_spec, tmp_path, monkeypatch):
    relative = "sample_data/prompts/harmful.jsonl"
    (tmp_path / relative).parent.mkdir(parents=True)
    (tmp_path / relative).write_text('{"prompt": "Another one.", "target": "No."}\n')
    spec = tiny_spec(**{"data.circuit_breaker": relative, "data.answers": "elicit"})
    (tmp_path / "spec.json").write_text(spec.to_json())
    monkeypatch.setattr("engine.worker.Worker.serve", lambda self, until: None)
    monkeypatch.chdir(tmp_path)
    assert main(["train", "spec.json", "--runs", str(settings.runs)]) == 1
    [run] = list_runs(settings.runs)
    assert run.record().sources[relative] == file_hashes([str(ROOT / relative)])[str(ROOT / relative)]
