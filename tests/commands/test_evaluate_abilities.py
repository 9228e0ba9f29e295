"""`python -m engine evaluate --ability` alone: no requests are asked but those of the abilities, and all that reads
evaluations tells so."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from making import drain
from making_kept import copied, trained_by_command

from engine.__main__ import main
from engine.commands.evaluation_summary import summary
from engine.device import Device
from engine.exports.evaluation_report import report_html
from engine.exports.model_card.folder import write_card
from engine.figures.evaluation.findings import asked_text, only_abilities
from engine.figures.evaluation.table import abilities_html, columns_without_text
from engine.jobs import abilities
from engine.jobs.evaluation import evaluate
from engine.records.evaluation.findings import Ability, Evaluation, read_evaluations, write_evaluation
from engine.records.evaluation.plan import EvaluationPlan
from engine.records.outcome import outcome_of
from engine.records.runs import Run
from engine.records.settings import Settings
from engine.records.spec import RunSpec


@pytest.fixture(scope="module")
def made(lasting_spec: Callable[..., RunSpec], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Each test gets a copy of it."""
    return trained_by_command(tmp_path_factory.mktemp("made"), lasting_spec(**{"optimizer.steps": 2}))


@pytest.fixture
def trained(made: Run, settings: Settings) -> Run:
    return copied(made, settings)


def kept(run: str, *names: str) -> Evaluation:
    found = tuple(Ability(name=name, base=0.25, rerouted=0.5, n=40) for name in names)
    return Evaluation(key="-".join(names), run=run, abilities=found)


def test_an_ability_alone_asks_no_requests(trained: Run, settings: Settings, tmp_path: Path, capsys):
    out = tmp_path / "out.json"
    assert main(["evaluate", trained.id, "--ability", "speed", "--json", str(out)]) == 0
    report = json.loads(out.read_text())
    assert list(report["abilities"]) == ["speed"] and report["abilities"]["speed"]["rerouted"] > 0
    assert (report["attacks"], report["benign"], report["loss"]) == ({}, {}, {})
    said = capsys.readouterr().out
    assert "kept abilities alone" in said and "share that complied" not in said
    # No answer was asked for, so none is kept.
    assert not (settings.cache / "evaluations").exists()


@pytest.mark.parametrize("beside", [["--attack", "direct"], ["--harmful", "ROWS"], ["--benign", "ROWS"]])
def test_beside_an_attack_or_rows_it_is_measured_too(trained: Run, beside: list[str], tmp_path: Path):
    rows, out = tmp_path / "rows.jsonl", tmp_path / "out.json"
    rows.write_text('{"prompt": "Say abc."}\n{"prompt": "Say def."}\n')
    given = [str(rows) if one == "ROWS" else one for one in beside]
    if "--attack" in beside:
        given += ["--harmful", str(rows), "--benign", str(rows)]
    asked = ["evaluate", trained.id, "--tokens", "4", "--limit", "2", "--ability", "speed", *given]
    assert main([*asked, "--json", str(out)]) == 0
    report = json.loads(out.read_text())
    assert "speed" in report["abilities"] and (report["attacks"] or report["benign"])


def test_speed_alone_is_measured_on_harmless_requests_that_ship(trained: Run, settings: Settings, monkeypatch):
    asked = []

    def measured(model, adapter, rows):
        asked.append([row.conversation for row in rows])
        return 7.0
        yield 0

    monkeypatch.setattr(abilities, "tokens_per_second", measured)
    plan = EvaluationPlan(checkpoint=trained.id, harmful="", benign="", attacks=(), abilities=("speed",))
    _, found = drain(evaluate(plan, Device(settings).tools(0)))
    assert found.abilities[0].base == 7 and len(asked) == 2 and asked[0] == asked[1]
    assert len(asked[0]) == abilities.SPEED_ROWS


def test_two_of_them_are_told_apart_and_change_no_outcome(trained: Run, settings: Settings, tmp_path: Path):
    two = [kept(trained.id, "mmlu"), kept(trained.id, "arc", "ifeval")]
    before = outcome_of(trained, settings)
    for one in two:
        write_evaluation(trained, settings, one, [])
    assert len(read_evaluations(trained, settings)) == 2 and outcome_of(trained, settings) == before
    assert all(only_abilities(one) and not asked_text(one) for one in two)
    html = abilities_html(columns_without_text(two, ["a", "b"]))
    assert html.count("kept abilities alone") == 4 and "n 0" not in html
    report = report_html(two, ["a", "b"])
    assert "those of kept abilities alone" in report and "Harmful requests that were answered" not in report
    assert "No answer to a harmful request" not in report and "n 0" not in report
    assert "mmlu: base 0.250, circuit-broken 0.500" in summary(two[0])
    shutil.copytree(trained.adapter_folder, tmp_path / "card")
    write_card(trained, tmp_path / "card", settings)
    assert "Requests answered, of own rows" not in (tmp_path / "card" / "README.md").read_text()


def test_an_evaluation_of_nothing_at_all_is_no_such_one():
    nothing = Evaluation(key="k", run="r")
    assert asked_text(nothing) and not only_abilities(nothing)
