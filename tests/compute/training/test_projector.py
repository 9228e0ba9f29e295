"""The projector of a model that sees: its loss falls, and a training that was broken off ends as an unbroken one."""

import pytest
import torch
from making import drain
from making_seers import painted
from torch.nn import functional

from engine.compute.model.text import text_ids
from engine.compute.training import projector as training
from engine.compute.training.projector import Lesson, ProjectorSettings, projector_weights, train_projector
from engine.records.pictures import picture_at

LESSONS = [
    Lesson(picture, question, begun, answer)
    for picture, answer in enumerate((" ab", " ba", " cc"))
    for question, begun in (("What is this?", ""), ("Which kind?", "Kind:"))
]


@pytest.fixture
def shown(tmp_path):
    return picture_at(painted(tmp_path / "any.png"))


@pytest.fixture
def features():
    # Channels of very different size, as those of real towers.
    scale = torch.logspace(-1, 2, 12)
    return torch.randn(3, 16, 12, generator=torch.Generator().manual_seed(3)) * scale + 5


def test_the_loss_falls_and_nothing_but_the_projector_changes(tiny_llava, shown, features, tmp_path):
    # Random weights as small as these would say nearly the same of all tokens, whatever they are shown.
    with torch.no_grad():
        for name, weight in tiny_llava.causal_lm.named_parameters():
            if weight.dim() == 2 and "embed" not in name:
                weight.mul_(20)
    before = {name: weight.clone() for name, weight in tiny_llava.published.named_parameters()}
    settings = ProjectorSettings(steps=60, rows=6, learning_rate=0.01)
    steps, is_done = drain(train_projector(tiny_llava, shown, features, LESSONS, settings, tmp_path / "kept"))
    assert is_done and [one.step for one in steps] == list(range(1, 61))
    assert sum(one.loss for one in steps[-5:]) < 0.9 * sum(one.loss for one in steps[:5])
    changed = {
        name for name, weight in tiny_llava.published.named_parameters() if not torch.equal(weight, before[name])
    }
    assert changed and all("multi_modal_projector" in name for name in changed)
    assert not any(parameter.requires_grad for parameter in tiny_llava.published.parameters())
    assert {weight.dtype for weight in projector_weights(tiny_llava).values()} == {torch.bfloat16}


def test_a_training_that_was_broken_off_ends_as_an_unbroken_one(tiny_llava, shown, features, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_STEPS", 2)
    settings = ProjectorSettings(steps=6, rows=4, seed=5)
    whole, _ = drain(train_projector(tiny_llava, shown, features, LESSONS, settings, tmp_path / "whole"))
    expected = projector_weights(tiny_llava)
    broken = train_projector(tiny_llava, shown, features, LESSONS, settings, tmp_path / "broken")
    first = [next(broken) for _ in range(3)]
    broken.close()
    assert not any(parameter.requires_grad for parameter in tiny_llava.published.parameters())
    # The third step was not kept: it is taken again.
    rest, is_done = drain(train_projector(tiny_llava, shown, features, LESSONS, settings, tmp_path / "broken"))
    assert is_done and first[:2] + rest == whole
    assert all(torch.equal(weight, expected[name]) for name, weight in projector_weights(tiny_llava).items())


def test_when_its_time_is_over_it_stops_and_goes_on_later(tiny_llava, shown, features, tmp_path):
    settings = ProjectorSettings(steps=3, rows=2, seconds=0)
    steps, is_done = drain(train_projector(tiny_llava, shown, features, LESSONS, settings, tmp_path / "kept"))
    assert steps == [] and not is_done
    _, is_done = drain(
        train_projector(tiny_llava, shown, features, LESSONS, settings._replace(seconds=60), tmp_path / "kept")
    )
    assert is_done


def test_another_seed_is_another_training(tiny_llava, shown, features, tmp_path):
    losses = [
        drain(
            train_projector(
                tiny_llava, shown, features, LESSONS, ProjectorSettings(steps=2, seed=seed), tmp_path / str(seed)
            )
        )[0][-1].loss
        for seed in (0, 1)
    ]
    assert losses[0] != losses[1]


def test_what_stands_before_the_picture_is_read_once_and_the_loss_is_that_of_whole_rows(
    tiny_llava, shown, features, tmp_path
):
    settings = ProjectorSettings(steps=1, rows=3, learning_rate=0.0)
    [step], _ = drain(train_projector(tiny_llava, shown, features, LESSONS, settings, tmp_path / "kept"))
    embed = tiny_llava.causal_lm.get_input_embeddings()
    losses = []
    with torch.no_grad():
        for lesson in training._drawn(LESSONS, settings, 0):
            before, behind = training._around(tiny_llava, shown, lesson.question, lesson.begun)
            assert before, "a chat template opens with words of its own"
            vectors = training._projector(tiny_llava)(features[lesson.picture])
            answer = torch.tensor([*text_ids(tiny_llava, lesson.answer), tiny_llava.tokenizer.eos_token_id])
            whole = torch.cat([embed(torch.tensor(before)), vectors, embed(torch.tensor(behind)), embed(answer)])
            logits = tiny_llava.causal_lm(inputs_embeds=whole[None]).logits[0, -len(answer) - 1 : -1]
            losses += functional.cross_entropy(logits, answer, reduction="none").tolist()
    assert step.loss == pytest.approx(sum(losses) / len(losses), rel=1e-5)
