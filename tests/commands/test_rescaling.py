"""A finished run at another strength is a run of its own: what training with that strength would have kept."""

import pytest
import torch
from making_kept import copied, trained_by_job
from safetensors.torch import load_file
from test_capturing import QUICK

from engine.__main__ import main
from engine.records.captures.capture import run_captures
from engine.records.errors import RunError
from engine.records.evaluation.findings import read_evaluations
from engine.records.events import HeldoutResult
from engine.records.runs import Run, list_runs, open_run

WEIGHTS = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def made(lasting_spec, tmp_path_factory) -> dict[float, Run]:
    """By the strength that they were trained at; each test gets copies of them."""
    return {
        strength: trained_by_job(
            tmp_path_factory.mktemp("made"), lasting_spec(**QUICK, **{"adapter.strength": strength})
        )
        for strength in (1.0, 1.5)
    }


@pytest.fixture
def run(made, settings) -> Run:
    return copied(made[1.0], settings)


def rescale(settings, capsys, run: Run, strength: str, *more: str) -> Run:
    assert main(["rescale", "--runs", str(settings.runs), run.id, strength, *more]) == 0
    return open_run(settings.runs, capsys.readouterr().out.strip())


def test_a_rescaled_run_is_what_training_with_that_strength_keeps(made, run, settings, capsys):
    like = copied(made[1.5], settings)
    made = rescale(settings, capsys, run, "1.5")
    found, expected = (load_file(one.adapter_folder / WEIGHTS) for one in (made, like))
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        torch.testing.assert_close(found[name], weight, rtol=0, atol=0)
    assert made.spec() == like.spec() and made.record().digest == like.record().digest != run.record().digest
    assert made.record().status == "finished" and made.id != run.id and len(list_runs(settings.runs)) == 3
    assert made.name == f"{run.name}, strength 1.5"


def test_curves_and_film_come_along_and_what_was_measured_of_the_other_strength_does_not(run, settings, capsys):
    run.update(figures={"heldout_cosine": 0.1, "validation_cosine": 0.2}, started=1000.0, ended=1600.0)
    made = rescale(settings, capsys, run, "0.5", "--name", "half")
    assert made.name == "half"
    of_steps = [[event for event in one.events()[0] if event.kind == "step"] for one in (run, made)]
    assert of_steps[0] == of_steps[1] != []
    splits = [{event.split for event in one.events()[0] if isinstance(event, HeldoutResult)} for one in (run, made)]
    assert splits == [{"validation", "test"}, {"validation"}]
    assert made.record().figures == {}
    assert (made.record().started, made.record().ended) == (1000.0, 1600.0), "how long it trained stays"
    assert read_evaluations(made, settings) == [] and made.record().evaluation == ""
    (film,) = run_captures(settings, made.id)
    assert film.index.key == "training" and film.index.run_id == made.id
    (said,) = [event.message for event in made.events()[0] if event.kind == "status" and event.status == "kept"]
    assert said == f"The adapter of run {run.id}, 0.5 times as strong as it was trained"


def test_strength_is_of_what_was_trained_however_often_a_run_is_rescaled(run, settings, capsys):
    twice = rescale(settings, capsys, rescale(settings, capsys, run, "0.5"), "2")
    found, trained_weights = (load_file(one.adapter_folder / WEIGHTS) for one in (twice, run))
    for name, weight in trained_weights.items():
        torch.testing.assert_close(found[name], weight * (2 if "lora_B" in name else 1), rtol=0, atol=0)
    assert twice.spec().adapter.strength == 2


@pytest.mark.parametrize(
    ("strength", "words"),
    [
        ("9", "adapter.strength"),
        ("0", "adapter.strength"),
        ("nan", "adapter.strength"),
        ("1", "acts 1 times as strongly as it was trained already"),
    ],
)
def test_a_strength_that_cannot_be_is_refused_in_words_and_nothing_is_written(
    run, settings, capsys, strength: str, words: str
):
    assert main(["rescale", "--runs", str(settings.runs), run.id, strength]) == 2
    assert words in capsys.readouterr().err
    assert list_runs(settings.runs) == [run]


def test_runs_that_are_not_finished_or_damaged_are_refused_in_words(run, settings, capsys):
    (run.adapter_folder / WEIGHTS).write_bytes(b"torn")
    assert main(["rescale", "--runs", str(settings.runs), run.id, "2"]) == 2
    assert "cannot be read" in capsys.readouterr().err
    run.update(status="stopped")
    assert main(["rescale", "--runs", str(settings.runs), run.id, "2"]) == 2
    assert "is stopped: only a finished run can be rescaled" in capsys.readouterr().err
    assert list_runs(settings.runs) == [run]


def test_where_the_disk_is_full_amid_it_nothing_is_left(run, settings, monkeypatch, capsys):

    def full(_file, _content):
        raise RunError("The disk is full: free some space, then try again.")

    monkeypatch.setattr("engine.commands.rescale.write_whole", full)
    assert main(["rescale", "--runs", str(settings.runs), run.id, "1.5"]) == 2
    assert "The disk is full" in capsys.readouterr().err
    assert [folder.name for folder in settings.runs.glob("2*")] == [run.id]


def test_at_the_strength_that_it_trained_at_a_run_has_the_figures_of_its_training(made, settings, capsys):
    run = copied(made[1.5], settings)
    run.update(figures={"heldout_cosine": 0.1, "validation_cosine": 0.2})
    assert rescale(settings, capsys, run, "1").record().figures == {"validation_cosine": 0.2}
    assert rescale(settings, capsys, run, "1.2").record().figures == {}
