"""Lessons are files: they are read whole, or what is wrong with one is said with its line, and the others stay."""

import math
from pathlib import Path

import pytest
from making_lessons import LESSON

from engine.records.errors import DataError
from engine.records.lessons.lesson import PAGES, Answer, Evaluated, RunExists, Step
from engine.records.lessons.progress import (
    Met,
    forget_unit,
    is_gone,
    keep_answer,
    keep_met,
    read_answers,
    read_met,
)
from engine.records.lessons.reading import read_lessons, read_unit
from engine.records.runs import create_run, delete_run
from engine.records.settings import SAMPLE_DATA, read_settings
from engine.records.spec_text import build_spec


@pytest.fixture
def folder(settings, tmp_path, monkeypatch) -> Path:
    """A teacher's own folder of lessons."""
    own = tmp_path / "lessons"
    own.mkdir()
    monkeypatch.setenv("WORKBENCH_LESSONS", str(own))
    return own


def problem(folder: Path, text: str) -> str:
    (folder / "bad.yaml").write_text(text)
    with pytest.raises(DataError) as caught:
        read_unit(folder / "bad.yaml")
    return str(caught.value)


def test_a_lesson_is_added_by_a_file_alone_and_stands_in_its_place(folder):
    (folder / "my-own.yaml").write_text(LESSON)
    lessons = read_lessons(read_settings())
    assert lessons.problems == [] and lessons.units[-1].name == "my-own"
    assert lessons.units[-1].unit.steps[0].view.settings == {"run": "shipped", "block": "19"}
    assert len(lessons.units) == 1 + len(list((SAMPLE_DATA / "lessons").glob("*.yaml")))


def test_a_file_of_the_same_name_replaces_the_one_that_ships(folder):
    (folder / "activations.yaml").write_text(LESSON)
    lessons = read_lessons(read_settings())
    assert lessons.named("activations").unit.title == "A unit of my own"
    assert [one.name for one in lessons.units].count("activations") == 1


def test_a_file_is_parsed_once_and_anew_when_it_has_changed(folder, monkeypatch):
    (folder / "my-own.yaml").write_text(LESSON)
    assert read_unit(folder / "my-own.yaml").title == "A unit of my own"
    with monkeypatch.context() as context:
        context.setattr("engine.records.lessons.reading.yaml.safe_load", pytest.fail)
        assert read_unit(folder / "my-own.yaml").title == "A unit of my own"
    (folder / "my-own.yaml").write_text(LESSON.replace("A unit of my own", "A unit of another"))
    assert read_unit(folder / "my-own.yaml").title == "A unit of another"


def test_broken_files_are_named_with_their_line_and_hide_no_other(folder):
    (folder / "one.yaml").write_text(LESSON.replace("title: Only step", "title: a: b"))
    (folder / "two.yaml").write_text(LESSON)
    (folder / "three.yaml").write_bytes(b"\xff\xfe\x00")
    (folder / "Four Words.yaml").write_text(LESSON)
    lessons = read_lessons(read_settings())
    assert lessons.named("two") is not None and len(lessons.problems) == 3
    assert [one for one in lessons.problems if one.startswith("The lesson one.yaml, line 7:")]
    assert [one for one in lessons.problems if "Four Words.yaml has a name" in one]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("page: representations", "page: nowhere", r"line 9, steps[1].view.page: there is no view 'nowhere': choose"),
        ("block: 19", "blok: 19", "line 9, steps[1].view: the view representations knows no setting 'blok'"),
        ("kind: asked", "kind: asket", "line 13, steps[1].check: there is no check 'asket': choose from run_exists"),
        ("prefill: true", "prefil: true", "line 13, steps[1].check.prefil: there is no such field"),
        ("minutes: 5", "minutes: five", "line 3, minutes: Input should be a valid integer"),
        ("    task: Do it.\n", "", "line 6, steps[1].task: it is missing"),
        ("kind: heldout", "kind: heldup", "line 10, steps[1].figure.kind: Input should be"),
        ("label: harmful", "label: rude", "line 13, steps[1].check.label: Input should be"),
        (LESSON, "- a list", "line 1,"),
        (LESSON, "", "line 1,"),
        (LESSON, "a: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
    ],
)
def test_what_is_wrong_is_said_with_the_line(folder, old, new, said):
    assert said in problem(folder, LESSON.replace(old, new))


@pytest.mark.parametrize(
    ("check", "said"),
    [
        ("{kind: answer, question: Q, why: W}", "has either choices or a number"),
        ("{kind: answer, question: Q, why: W, choices: [a, b], right: 3}", "which of the 2 choices is right"),
        ("{kind: answer, question: Q, why: W, number: 1, right: 1}", "right counts choices"),
        ("{kind: evaluated, attacks: [tickle]}", "there is no attack 'tickle'"),
        ("{kind: run_exists, settings: {optimizer.stepz: 3}}", "a run's spec has no field 'optimizer.stepz'"),
        ("{kind: run_exists, status: begun, cosine_below: 0.5}", "has no figures yet: leave cosine_below out"),
        ("{kind: asked, blocks: [15, 15]}", "name steered too"),
        ("{kind: looked, at: tokens, blocks: [19, 19]}", "of a map, not of tokens"),
    ],
)
def test_a_check_that_cannot_be_is_refused(folder, check, said):
    assert said in problem(folder, LESSON.replace("{kind: asked, label: harmful, prefill: true}", check))


def test_two_steps_of_one_id_are_refused(folder):
    step = LESSON[LESSON.index("  - id") :]
    assert "two steps have the id 'only'" in problem(folder, LESSON + step)


def test_a_folder_that_is_not_there_is_said(settings, monkeypatch, tmp_path):
    monkeypatch.setenv("WORKBENCH_LESSONS", str(tmp_path / "none"))
    lessons = read_lessons(read_settings())
    assert lessons.units and "correct WORKBENCH_LESSONS" in lessons.problems[0]


def test_every_page_that_a_lesson_may_open_is_a_page(settings):
    from workbench.kit.frame import places

    assert set(PAGES) == set(places()) - {"learn"}


def test_the_minutes_of_units_that_ship_are_counted_from_their_words_and_tasks(settings):
    """Decision 0024: 200 words a minute; 1 minute a question, 2 for what is done on another page, 5 for what is trained
    or attacked; steps that may be left out count their words alone. Rounded up."""
    minutes = {Answer: 1, RunExists: 5, Evaluated: 5}
    for lesson in read_lessons(settings).units:
        steps = lesson.unit.steps
        reading = sum(len(f"{step.title} {step.text} {step.task} {asked(step)}".split()) for step in steps) / 200
        doing = sum(minutes.get(type(step.check), 2) for step in steps if not step.optional)
        assert reading < lesson.unit.minutes == math.ceil(reading + doing), lesson.name


def asked(step: Step) -> str:
    """The words of a question and its choices."""
    return f"{step.check.question} {' '.join(step.check.choices)}" if isinstance(step.check, Answer) else ""


def test_what_is_met_stays_met_and_two_tabs_lose_no_answer(settings):
    keep_met(settings, "unit", "step", Met(words="first", run="gone"))
    keep_met(settings, "unit", "step", Met(words="second"))
    found = read_met(settings, "unit", "step")
    assert found and found.words == "first" and is_gone(settings, found.run)
    for tab in range(2):
        keep_answer(settings, "unit", "other", f"from tab {tab}")
    assert [one.text for one in read_answers(settings, "unit", "other")] == ["from tab 0", "from tab 1"]
    assert read_met(settings, "unit", "other") is None
    forget_unit(settings, "unit")
    assert read_met(settings, "unit", "step") is None and read_answers(settings, "unit", "other") == []


def test_the_run_that_met_a_check_may_go_and_that_is_known(settings):
    run = create_run(settings.runs, build_spec({}))
    assert not is_gone(settings, run.id) and not is_gone(settings, "")
    run.update(status="finished")
    delete_run(run)
    assert is_gone(settings, run.id)


def test_a_damaged_record_of_progress_is_read_anew(settings):
    keep_met(settings, "unit", "step", Met(words="x"))
    (settings.progress / "unit" / "step.json").write_text("{")
    assert read_met(settings, "unit", "step") is None
    keep_answer(settings, "unit", "step", "1")
    (settings.progress / "unit" / "step.answers.jsonl").open("a").write("torn\n")
    assert len(read_answers(settings, "unit", "step")) == 1


def test_a_newer_lesson_and_two_of_one_name_are_said_and_hide_no_other(folder):
    (folder / "newer.yaml").write_text(f"version: 2\n{LESSON}")
    (folder / "twice.yaml").write_text(LESSON)
    (folder / "twice.yml").write_text(LESSON)
    lessons = read_lessons(read_settings())
    assert lessons.named("twice") is not None and lessons.named("activations") is not None
    newer, twice = lessons.problems
    assert newer.startswith("The lesson newer.yaml: ") and "update the workbench" in newer
    assert twice == "The lessons twice.yaml and twice.yml are of one name: give one of them another."
