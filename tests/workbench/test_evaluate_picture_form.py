"""Requests that show pictures in Evaluate's form: chosen with attacks and settings, held back where the run's model
sees nothing, and what is wrong is said before anything is queued."""

import json
from pathlib import Path

import pytest
from making_seers import painted, write_tiny_llava
from test_evaluate_agents import drawn

from engine.desk.queue import Queue
from engine.records.archives import archive_folder
from engine.records.errors import DataError
from engine.records.evaluation.pictured import read_pictured_rows
from engine.records.evaluation.plan import EvaluationPlan
from engine.records.picture_rows import picture_set_file
from engine.records.picture_sets import DESIGNS
from engine.records.runs import Run, create_run
from engine.records.spec_text import build_spec
from workbench.evaluate.picture_form import PictureChoice, blind_reason

__all__ = ["drawn"]


def made_run(settings, name: str, model: str = "bundled/SmolLM2-135M-Instruct") -> Run:
    run = create_run(settings.runs, build_spec({"model": {"name": model}}), name=name)
    run.adapter_folder.mkdir(parents=True, exist_ok=True)
    (run.adapter_folder / "adapter_config.json").write_text("{}")
    run.update(status="finished", step=4)
    return run


@pytest.fixture
def bundled(settings) -> None:
    """What the bundled model's files say of it, without the model."""
    folder = settings.models / "SmolLM2-135M-Instruct"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "llama"}')


@pytest.fixture
def seeing(settings, tmp_path) -> Run:
    return made_run(settings, "seeing", str(write_tiny_llava(tmp_path / "llava")))


@pytest.fixture
def rows(tmp_path) -> str:
    painted(tmp_path / "a.png")
    file = tmp_path / "seen.jsonl"
    file.write_text(json.dumps({"prompt": "What is it?", "picture": "a.png", "harmful": True}) + "\n")
    return str(file)


def test_rows_attacks_and_settings_of_pictures_are_queued_for_two_runs(seeing, settings, drawn, rows):
    other = made_run(settings, "seeing too", seeing.spec().model.name)
    page = drawn()
    page.multiselect(key="evaluate_runs").set_value([seeing.id, other.id]).run()
    page.selectbox(key="evaluate_pictures").set_value("another file").run()
    page.text_input(key="evaluate_pictures_file").set_value(rows).run()
    page.number_input(key="picture_budget_pgd").set_value(7).run()
    page.number_input(key="pixels_epsilon").set_value(8).run()
    page.number_input(key="pixels_restarts").set_value(3).run()
    page.toggle(key="pixels_random_start").set_value(False).run()
    for side in ("harmful", "benign"):
        page.selectbox(key=f"evaluate_{side}").set_value("").run()
    page.button(key="start_evaluation").click().run()
    assert not page.exception and not [one.value for one in page.error]
    plans = [EvaluationPlan.model_validate(job.payload) for job in Queue(settings.desk).newest("evaluate")]
    assert {plan.checkpoint for plan in plans} == {seeing.id, other.id}
    for plan in plans:
        assert (plan.pictures, plan.harmful) == (rows, "")
        assert [(one.name, one.budget) for one in plan.picture_attacks] == [("direct", 1), ("pgd", 7)]
        assert plan.pixels.model_dump() == {"epsilon": 8, "step_size": 2.0, "random_start": False, "restarts": 3}


def test_a_run_whose_model_sees_nothing_holds_the_choice_back_and_says_which(seeing, settings, drawn, bundled):
    blind = made_run(settings, "blind one")
    assert blind_reason([seeing.id]) == ""
    assert "blind one is a run of bundled/SmolLM2-135M-Instruct, which sees no pictures" in blind_reason(
        [seeing.id, blind.id]
    )
    page = drawn()
    page.multiselect(key="evaluate_runs").set_value([seeing.id, blind.id]).run()
    choice = page.selectbox(key="evaluate_pictures")
    assert choice.disabled and "sees no pictures" in choice.help
    page.multiselect(key="evaluate_runs").set_value([seeing.id]).run()
    assert not page.selectbox(key="evaluate_pictures").disabled


def test_a_missing_file_and_a_wrong_row_are_said_and_nothing_is_queued(seeing, settings, drawn, rows, tmp_path):
    with pytest.raises(DataError, match="There is no file of requests that show pictures yet"):
        PictureChoice("another file", "").fields()
    assert PictureChoice().fields() == {}
    Path(rows).write_text(json.dumps({"prompt": "What is it?", "picture": "gone.png", "harmful": True}) + "\n")
    page = drawn()
    page.selectbox(key="evaluate_pictures").set_value("another file").run()
    page.text_input(key="evaluate_pictures_file").set_value(rows).run()
    page.button(key="start_evaluation").click().run()
    said = " ".join(one.value for one in page.error).replace("\\", "")
    assert "seen.jsonl, row 1: The picture " in said and not Queue(settings.desk).newest("evaluate")


@pytest.mark.parametrize("label", ["harmful", "benign"])
def test_a_jsonl_file_that_is_not_named_is_asked_for_and_nothing_is_queued(seeing, settings, drawn, rows, label):
    page = drawn()
    page.selectbox(key=f"evaluate_{label}").set_value("another file").run()
    page.button(key="start_evaluation").click().run()
    [error] = [one.value.replace("\\", "") for one in page.error]
    assert error == f"There is no file of {label} requests yet: name one, or choose none."
    assert not page.exception and not Queue(settings.desk).newest("evaluate")


def test_the_sample_is_the_test_split_of_both_sets_that_ship(settings):
    with pytest.raises(DataError, match="python -m engine fetch pictures"):
        read_pictured_rows("sample")
    shipped = {
        name: [json.loads(line) for line in picture_set_file(f"pictures:{name}").read_text().splitlines()]
        for name in ("harmful", "benign")
    }
    for number, picture in enumerate({row["picture"] for rows in shipped.values() for row in rows}):
        [archive] = [one.archive for one in DESIGNS.values() if picture.startswith(f"{one.archive.name}/")]
        inside = picture.removeprefix(f"{archive.name}/")
        painted(archive_folder(archive, settings) / inside, seed=number)
    tested = {name: [row for row in rows if row["split"] == "test"] for name, rows in shipped.items()}
    found = read_pictured_rows("sample")
    assert len(found.harmful) == len(tested["harmful"]) > 0
    assert len(found.borderline) == sum(row["borderline"] for row in tested["benign"]) > 0
    assert len(found.benign) + len(found.borderline) == len(tested["benign"])
    assert read_pictured_rows("pictures:harmful").harmful == found.harmful
    assert [len(side) for side in read_pictured_rows("sample", limit=3)] == [3, 3, 3]
    with pytest.raises(DataError, match="There is no sample set of pictures 'pictures:none'"):
        read_pictured_rows("pictures:none")
