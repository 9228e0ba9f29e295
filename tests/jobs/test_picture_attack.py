"""An attack on pixels as a job: watched step by step, answered by both models, stopped with what there is."""

import json

import pytest
import torch
from making import drain
from making_kept import copied, trained_by_job
from making_seers import painted

from engine.device import Device
from engine.jobs import picture_attack
from engine.jobs.picture_attack import attack_picture_job
from engine.records.chats.asked import Column
from engine.records.checkpoints import Checkpoint
from engine.records.deleting import delete_kept
from engine.records.errors import ModelError, RunError
from engine.records.picture_attacks import PictureAttack, PixelSaved, list_attacks, new_attack, open_attack
from engine.records.pictures import image_of, picture_at
from engine.records.spec_parts import ModelSpec


@pytest.fixture
def device(settings):
    return Device(settings)


@pytest.fixture(scope="module")
def made(lasting_spec, tiny_llava_folder, tmp_path_factory):
    """Of two seeds; each test gets copies of them."""
    model = {"model.name": str(tiny_llava_folder), "model.device": "cpu", "adapter.noise": 0.3}
    return [trained_by_job(tmp_path_factory.mktemp("made"), lasting_spec(**model, seed=seed)) for seed in range(2)]


@pytest.fixture
def picture(tmp_path):
    return picture_at(painted(tmp_path / "cat.png", size=(20, 20)))


def begun(settings, folder, picture, **changes):
    asked = {"steps": 6, "every": 3, "new_tokens": 4, "step_size": 4.0, "request": "What is this?", "target": "Sure"}
    base = (Column(checkpoint="base"),)
    spec = {"model": ModelSpec(name=str(folder), device="cpu"), "columns": base, "picture": picture, **asked, **changes}
    return new_attack(settings, PictureAttack(**spec))


def moved(attack, picture) -> int:
    """The farthest that any colour moved, of 255."""
    before, after = (image_of(one).tobytes() for one in (picture, picture_at(attack.perturbed)))
    return max(abs(one - other) for one, other in zip(before, after, strict=True))


def test_every_step_of_every_restart_is_written_and_the_best_picture_answered(
    device, settings, tiny_llava_folder, picture
):
    attack = begun(settings, tiny_llava_folder, picture, restarts=2, epsilon=16)
    events = drain(attack_picture_job({"attack": attack.id}, device.tools(1)))[0]
    course = attack.course()
    assert [(one.restart, one.step) for one in course.steps] == [(r, s) for r in range(2) for s in range(7)]
    assert course.end.reason == "done" and attack.spec().taken(course.answers[0].done) == 3
    assert course.answers[-1].loss == pytest.approx(course.least) and all(len(one.texts) == 1 for one in course.answers)
    assert 0 < moved(attack, picture) <= 16
    assert events[-1].phase in ("attacking pixels", "answering")


def test_the_seed_and_the_start_decide(device, settings, tiny_llava_folder, picture):
    losses = {}
    for name, changes in {"a": {}, "again": {}, "other": {"seed": 1}, "still": {"random_start": False}}.items():
        attack = begun(settings, tiny_llava_folder, picture, steps=2, **changes)
        drain(attack_picture_job({"attack": attack.id}, device.tools(1)))
        losses[name] = tuple(one.loss for one in attack.course().steps)
    assert losses["a"] == losses["again"] and len(set(losses.values())) == 3


def test_what_is_stopped_keeps_its_best_picture_and_can_be_kept(device, settings, tiny_llava_folder, picture):
    attack = begun(settings, tiny_llava_folder, picture, steps=500, every=400)
    with pytest.raises(RunError, match=r"There is no attacked picture yet"):
        attack.keep()
    steps = attack_picture_job({"attack": attack.id}, device.tools(1))
    while len(attack.course().steps) < 4:
        next(steps)
    assert not attack.perturbed.exists()
    steps.close()
    course = attack.course()
    assert course.end.reason == "stopped" and 0 < moved(attack, picture) <= 32
    # What was left is said to be of its own step, unanswered.
    assert course.answers == () and isinstance(course.picture, PixelSaved)
    assert course.picture.loss == course.least == course.steps[course.picture.done - 1].loss
    attack.keep()
    [again] = list_attacks(settings)
    assert again.is_kept and open_attack(settings, attack.id).spec() == attack.spec()
    assert json.loads(attack.exported())["picture_after"]["loss"] == pytest.approx(course.least, abs=1e-5)
    assert '"losses"' in attack.exported() and '"texts"' not in attack.exported()
    # Of the model's folder and of the picture's their names alone.
    assert str(tiny_llava_folder.parent) not in attack.exported() and str(settings.desk) not in attack.exported()
    assert json.loads(attack.exported())["model"]["name"] == tiny_llava_folder.name


def test_stopped_right_behind_an_answer_the_picture_is_the_answered_one(device, settings, tiny_llava_folder, picture):
    attack = begun(settings, tiny_llava_folder, picture, steps=500, every=2)
    steps = attack_picture_job({"attack": attack.id}, device.tools(1))
    while not attack.course().answers:
        next(steps)
    steps.close()
    course = attack.course()
    # One look more was taken, which may have found a better one.
    is_better = course.least < course.answers[-1].loss
    assert course.end.reason == "stopped" and isinstance(course.picture, PixelSaved) is is_better
    assert course.picture.loss == course.least and (is_better or course.picture == course.answers[-1])


def test_what_is_deleted_while_it_is_searched_stays_so_and_its_job_ends_in_peace(
    device, settings, tiny_llava_folder, picture, monkeypatch
):
    attack = begun(settings, tiny_llava_folder, picture, steps=500, every=400)
    steps = attack_picture_job({"attack": attack.id}, device.tools(1))
    while len(attack.course().steps) < 4:
        next(steps)
    delete_kept(attack.folder)
    drain(steps)
    assert not attack.folder.exists()
    # Right before its picture is written.
    real = picture_attack.Progress
    attack = begun(settings, tiny_llava_folder, picture)

    def gone(**told):
        if told["done"] == told["total"]:
            delete_kept(attack.folder)
        return real(**told)

    monkeypatch.setattr(picture_attack, "Progress", gone)
    drain(attack_picture_job({"attack": attack.id}, device.tools(1)))
    assert not attack.folder.exists()


def test_what_could_not_be_answered_is_said_before_the_search(device, settings, tiny_llava_folder, picture):
    attack = begun(settings, tiny_llava_folder, picture, steps=500, every=400, new_tokens=490)
    with pytest.raises(ModelError, match=r"490 of them for the answer"):
        drain(attack_picture_job({"attack": attack.id}, device.tools(1)))
    assert attack.course().steps == () and attack.course().end.reason == "failed"


def test_both_models_answer_and_either_can_be_attacked(device, settings, tiny_llava_folder, made, picture):
    run = copied(made[0], settings)
    columns = (Column(checkpoint="base"), Column(checkpoint=Checkpoint(run.id)))
    firsts = []
    for attacked in range(2):
        attack = begun(settings, tiny_llava_folder, picture, model=run.spec().model, columns=columns, attacked=attacked)
        drain(attack_picture_job({"attack": attack.id}, device.tools(1)))
        course = attack.course()
        assert len(course.answers[-1].texts) == 2 and attack.folder.is_relative_to(run.folder)
        firsts.append(course.steps[0].loss)
    # The same start, another model.
    assert firsts[0] != firsts[1]


def test_two_tabs_attack_two_runs_with_pictures_of_two_sizes_as_each_would_alone(
    device, settings, tiny_llava_folder, made, picture, tmp_path
):
    runs = [copied(one, settings) for one in made]
    pictures = (picture, picture_at(painted(tmp_path / "wide.png", size=(45, 17))))

    def attacks():
        return [
            begun(
                settings,
                tiny_llava_folder,
                shown,
                model=run.spec().model,
                columns=(Column(checkpoint=Checkpoint(run.id)),),
            )
            for run, shown in zip(runs, pictures, strict=True)
        ]

    alone = attacks()
    for attack in alone:
        drain(attack_picture_job({"attack": attack.id}, device.tools(1)))
    together = attacks()
    waiting = [
        attack_picture_job({"attack": attack.id}, device.tools(number)) for number, attack in enumerate(together)
    ]
    while waiting:
        for steps in list(waiting):
            if next(steps, "ended") == "ended":
                waiting.remove(steps)
    for one, other, shown in zip(alone, together, pictures, strict=True):
        first, second = one.course(), other.course()
        assert first.steps == second.steps and first.answers == second.answers
        assert image_of(picture_at(other.perturbed)).size == image_of(shown).size
        assert one.perturbed.read_bytes() == other.perturbed.read_bytes()


def test_a_model_that_does_not_see_is_refused_in_the_record_too(device, settings, tiny_model_folder, picture):
    attack = begun(settings, tiny_model_folder, picture)
    with pytest.raises(ModelError, match=r"sees no pictures"):
        drain(attack_picture_job({"attack": attack.id}, device.tools(1)))
    end = attack.course().end
    assert end.reason == "failed" and "sees no pictures" in end.message


def test_memory_that_runs_out_is_said_with_what_helps(device, settings, tiny_llava_folder, picture, monkeypatch):
    def exhausted(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory.")
        yield

    monkeypatch.setattr(picture_attack, "descent", exhausted)
    attack = begun(settings, tiny_llava_folder, picture)
    with pytest.raises(torch.OutOfMemoryError):
        drain(attack_picture_job({"attack": attack.id}, device.tools(1)))
    assert attack.course().end.message.startswith("Memory ran out: CUDA out of memory. Choose")


def test_one_that_is_gone_says_so(settings):
    with pytest.raises(RunError, match=r"There is no attack 'none'"):
        open_attack(settings, "none")
