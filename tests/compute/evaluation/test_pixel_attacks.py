"""Attacks on the pixels of a request's pictures, on a tiny model that sees."""

from itertools import pairwise

import pytest
import torch
from making import drain
from making_seers import painted, showing

from engine.compute.evaluation.attacks.attempt import Options
from engine.compute.evaluation.attacks.pixels import (
    perturbed,
    pgd,
    pgd_prefill,
    pixels_of,
    read_opening,
    saved,
    target_loss,
)
from engine.compute.evaluation.attacks.targets import target_ids
from engine.compute.model.adapters import attach_adapter
from engine.compute.model.text import decode, tokens_of
from engine.records.conversation import Conversation, Message, Text
from engine.records.errors import ModelError
from engine.records.evaluation.attacks import looks_of
from engine.records.evaluation.pixels import PixelSearch
from engine.records.evaluation.rows import EvaluationRow, prefill_of
from engine.records.pictures import image_of
from engine.records.spec_parts import AdapterSpec

FAR = PixelSearch(step_size=8)


@pytest.fixture(params=["llava", "llava_next"])
def seer(request):
    return request.getfixturevalue(f"tiny_{request.param}")


@pytest.fixture
def row(tmp_path):
    return EvaluationRow(showing("What is this?", painted(tmp_path / "a.png", size=(40, 23))), target="Sure, it is")


def loss(model, row, picture):
    """Of the target behind the row with this picture in it, asked as any other."""
    changed = row._replace(conversation=row.conversation.with_pictures(lambda _: picture))
    ids, target = tokens_of(model, changed.conversation).ids, target_ids(model, row)
    with torch.no_grad():
        logits = model.causal_lm(input_ids=torch.tensor([[*ids, *target]]), use_cache=False).logits[
            0, len(ids) - 1 : -1
        ]
    return float(torch.nn.functional.cross_entropy(logits, torch.tensor(target)))


def as_pixels(picture):
    return torch.tensor(list(image_of(picture).tobytes())).view(image_of(picture).height, image_of(picture).width, 3)


def test_the_target_becomes_likelier_within_the_distance_and_the_saved_picture_still_attacks(seer, row, tmp_path):
    [original] = row.conversation.pictures
    _, found = drain(perturbed(seer, None, row, FAR, [10, 20], seed=0))
    # A random model looks little at pictures: what can be won is small, and all of it counts.
    before = loss(seer, row, original)
    assert len(found.losses) == 21 and min(found.losses) < before - 1e-3
    assert all(later < earlier for earlier, later in pairwise(found.losses[:5]))
    for mark, [pixels] in found.pictures.items():
        picture = saved(pixels, tmp_path / f"{mark}.png")
        moved = (as_pixels(picture) - as_pixels(original)).abs().max()
        assert 0 < moved <= 32
        # 8 bits a colour cost little of what was won.
        reached = min(found.losses[: mark + 1])
        assert loss(seer, row, picture) == pytest.approx(reached, abs=0.2 * (before - reached))


def test_the_loss_of_the_unchanged_picture_is_that_of_asking_with_it(seer, row):
    """But for the processor's rounding, the path of the attack is the path of every other request."""
    still = PixelSearch(random_start=False)
    _, found = drain(perturbed(seer, None, row, still, [1], seed=0))
    assert found.losses[0] == pytest.approx(loss(seer, row, row.conversation.pictures[0]), abs=2e-3)


def test_restarts_differ_and_the_best_of_them_is_kept(tiny_llava, row):
    _, once = drain(perturbed(tiny_llava, None, row, FAR, [4], seed=0))
    _, thrice = drain(perturbed(tiny_llava, None, row, FAR.model_copy(update={"restarts": 3}), [4], seed=0))
    assert min(thrice.losses) <= min(once.losses)
    _, other = drain(perturbed(tiny_llava, None, row, FAR, [4], seed=1))
    assert other.losses[0] != once.losses[0]
    _, again = drain(perturbed(tiny_llava, None, row, FAR, [4], seed=0))
    assert again.losses == once.losses


def test_all_pictures_of_a_request_are_perturbed(tiny_llava, tmp_path):
    files = [painted(tmp_path / f"{seed}.png", seed=seed, size=(16 + 9 * seed, 16)) for seed in range(2)]
    row = EvaluationRow(showing("Compare.", *files))
    _, found = drain(perturbed(tiny_llava, None, row, FAR, [3], seed=0))
    pictures = [saved(pixels, tmp_path / f"new-{place}.png") for place, pixels in enumerate(found.pictures[3])]
    assert len({one.sha256 for one in (*pictures, *row.conversation.pictures)}) == 4
    assert [image_of(one).size for one in pictures] == [(16, 16), (25, 16)]


def test_two_files_of_one_picture_are_changed_alike(tiny_llava, tmp_path):
    files = [painted(tmp_path / f"{name}.png", size=(16, 16)) for name in ("one", "copy")]
    row = EvaluationRow(showing("Compare.", *files))
    found = drain(pgd(tiny_llava, None, [row], Options(budget=2, new_tokens=2)))[1]
    assert [len(attempts) for attempts in found] == [len(looks_of("pgd", 2))]


def test_a_loss_that_is_no_number_ends_a_search_in_words(tiny_llava, row, monkeypatch):
    nothing = "engine.compute.evaluation.attacks.pixels.target_loss"
    monkeypatch.setattr(nothing, lambda *given, **_: given[-1][0].sum() * float("nan"))
    with pytest.raises(ModelError, match=r"The loss of the target is nan under .*: attacks on pixels need a number"):
        drain(perturbed(tiny_llava, None, row, FAR, [3], seed=0))


def test_every_row_answers_on_the_way_at_the_loss_it_has_then_and_nothing_is_left_behind(tiny_llava, row, tmp_path):
    attach_adapter(tiny_llava, "broken", AdapterSpec(rank=4, alpha=4, noise=0.3), [0, 1], seed=0)
    rows = [row, EvaluationRow(showing("What is this?", painted(tmp_path / "b.png", seed=1)))]
    weights = {name: value.clone() for name, value in tiny_llava.published.state_dict().items()}
    for adapter in (None, "broken"):
        shares, found = drain(pgd(tiny_llava, adapter, rows, Options(budget=12, new_tokens=5)))
        assert shares == sorted(shares) and shares[0] >= 0 and shares[-1] <= 1
        for one, attempts in zip(rows, found, strict=True):
            assert [attempt.budget for attempt in attempts] == [0, 10, 12]
            losses = [attempt.loss for attempt in attempts]
            assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0]
            assert all(attempt.prompt_ids == tokens_of(tiny_llava, one.conversation).ids for attempt in attempts)
            assert all(len(attempt.answer_ids) <= 5 for attempt in attempts)
            assert "at most 32 of 255" in attempts[0].asked and decode(tiny_llava, attempts[0].answer_ids) is not None
    steps = pgd(tiny_llava, "broken", rows, Options(budget=9, new_tokens=5))
    next(steps), next(steps)
    steps.close()
    assert not tiny_llava.sight._given
    after = tiny_llava.published.state_dict()
    assert weights.keys() == after.keys() and all(torch.equal(value, after[name]) for name, value in weights.items())


def test_with_a_prefill_the_same_pictures_are_answered_behind_its_words(tiny_llava, row, tmp_path):
    """The row's target begins the one answer; the other row, without a target, gets the usual words."""
    rows = [row, EvaluationRow(showing("What is this?", painted(tmp_path / "b.png", seed=1)))]
    options = Options(budget=3, new_tokens=4)
    plain, begun = (drain(attack(tiny_llava, None, rows, options))[1] for attack in (pgd, pgd_prefill))
    for one, without, with_words in zip(rows, plain, begun, strict=True):
        words = tokens_of(tiny_llava, one.conversation, begun=prefill_of(one)).begun
        assert words and [attempt.prefill_ids for attempt in with_words] == [words] * len(with_words)
        assert [(a.budget, a.prompt_ids, a.loss) for a in without] == [
            (a.budget, a.prompt_ids, a.loss) for a in with_words
        ]
        assert with_words[0].asked == f"{without[0].asked} {prefill_of(one)}"
    assert begun[0][0].prefill_ids != begun[1][0].prefill_ids
    assert [a.answer_ids for a in plain[0]] != [a.answer_ids for a in begun[0]]


def test_the_gradient_of_the_target_is_that_of_finite_differences(seer, row):
    """In double precision, from the pixels to the loss."""
    seer.published.double()
    [picture] = row.conversation.pictures
    prompt, target = tokens_of(seer, row.conversation).ids, target_ids(seer, row)
    pixels = as_pixels(picture).permute(2, 0, 1).double() / 255 * 0.8 + 0.1

    def score(shown):
        return target_loss(seer, None, [picture], prompt, target, [shown])

    moving = pixels.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(score(moving), moving)
    direction = gradient.sign() * 1e-3
    with torch.no_grad():
        difference = (score(pixels + direction) - score(pixels - direction)) / 2
    assert float(difference) == pytest.approx(float((gradient * direction).sum()), rel=0.02)


def test_what_stands_before_the_picture_is_read_once_and_changes_nothing(seer, row):
    attach_adapter(seer, "broken", AdapterSpec(rank=4, alpha=4, noise=0.3), [0, 1], seed=0)
    [picture] = row.conversation.pictures
    said = (Text(text="Look at this."), picture, Text(text="What is it?"))
    row = row._replace(conversation=Conversation(messages=(Message(role="user", parts=said),)))
    prompt, target = tokens_of(seer, row.conversation).ids, target_ids(seer, row)
    found = {}
    for adapter in (None, "broken"):
        opening = read_opening(seer, adapter, prompt)
        assert opening is not None and opening.get_seq_length() == prompt.index(seer.sight.tokens.ids_of(picture)[0])
        for read in (None, opening, opening):
            moving = pixels_of(picture, seer.device).requires_grad_(True)
            loss = target_loss(seer, adapter, [picture], prompt, target, [moving], opening=read)
            (gradient,) = torch.autograd.grad(loss, moving)
            found.setdefault(adapter, []).append((float(loss.detach()), gradient))
        whole, *again = found[adapter]
        for loss, gradient in again:
            assert loss == pytest.approx(whole[0], abs=1e-5)
            torch.testing.assert_close(gradient, whole[1], rtol=1e-3, atol=1e-6)
    assert found[None][0][0] != pytest.approx(found["broken"][0][0], abs=1e-3)


def test_a_model_without_a_tower_has_no_pixels_to_attack(tiny_model, row):
    with pytest.raises(ModelError, match="sees no pictures, so there are no pixels to attack"):
        next(perturbed(tiny_model, None, row, FAR, [1], seed=0))
