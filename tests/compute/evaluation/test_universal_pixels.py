"""One change of the colours for many requests and pictures, on a tiny model that sees."""

import pytest
import torch
from making import drain
from making_seers import painted, showing

from engine.compute.evaluation.attacks.attempt import Options
from engine.compute.evaluation.attacks.universal import GREY, pgd_universal, universal, veiled
from engine.compute.model.adapters import attach_adapter
from engine.compute.model.text import tokens_of
from engine.records.errors import DataError, ModelError, SpecError
from engine.records.evaluation.folds import two_folds
from engine.records.evaluation.perturbations import perturbation_files
from engine.records.evaluation.pixels import PixelSearch
from engine.records.evaluation.rows import EvaluationRow
from engine.records.pictures import image_of, picture_at
from engine.records.spec_parts import AdapterSpec

FAR = PixelSearch(step_size=8)


@pytest.fixture(params=["llava", "llava_next"])
def seer(request):
    return request.getfixturevalue(f"tiny_{request.param}")


@pytest.fixture
def rows(tmp_path):
    """Six pictures of two sizes, each under two questions."""
    files = [painted(tmp_path / f"{seed}.png", seed=seed, size=(40, 23) if seed % 3 else (17, 30)) for seed in range(6)]
    return [
        EvaluationRow(showing(question, file), target="Sure, it is")
        for file in files
        for question in ("What is this?", "Say it.")
    ]


def as_pixels(picture):
    image = image_of(picture)
    return torch.tensor(list(image.tobytes())).view(image.height, image.width, 3)


def test_the_mean_loss_of_many_targets_falls_within_the_distance(seer, rows):
    done, found = drain(universal(seer, None, rows[:6], FAR, [0, 5, 10], seed=0))
    assert done == list(range(1, 11 * 6 + 1)) and len(found.losses) == 11
    assert min(found.losses) < found.losses[0] - 1e-3
    assert set(found.veils) == {0, 5, 10}
    for veil in found.veils.values():
        # The shape that most of the pictures have.
        assert veil.shape == (3, 23, 40)
        assert (veil - GREY).abs().max() <= 32 / 255 + 1e-6


def test_restarts_keep_the_best_and_the_seed_decides(tiny_llava, rows):
    found = [
        drain(universal(tiny_llava, None, rows[:4], search, [4], seed=seed))[1]
        for search, seed in (
            (FAR, 0),
            (FAR, 0),
            (FAR, 1),
            (FAR.model_copy(update={"restarts": 2}), 0),
            (FAR.model_copy(update={"random_start": False}), 0),
        )
    ]
    once, again, other, twice, still = found
    assert once.losses == again.losses and once.losses[0] != other.losses[0]
    assert min(twice.losses) <= min(once.losses)
    assert drain(universal(tiny_llava, None, rows[:4], FAR.model_copy(update={"random_start": False}), [0], seed=5))[
        1
    ].veils[0].unique().tolist() == pytest.approx([GREY])
    assert still.losses[0] != once.losses[0]


def test_a_change_fits_pictures_of_every_size_and_stays_within_its_distance(rows):
    veil = GREY + 20 / 255 * (torch.rand(3, 23, 40) * 2 - 1)
    for row in rows:
        pixels = as_pixels(row.conversation.pictures[0]).permute(2, 0, 1) / 255
        changed = veiled(pixels, veil)
        assert changed.shape == pixels.shape and changed.min() >= 0 and changed.max() <= 1
        assert 0 < (changed - pixels).abs().max() <= 20 / 255 + 1e-6


def test_no_row_answers_a_change_that_was_made_on_it_or_on_its_picture(tiny_llava, rows, tmp_path):
    """A row's answers and losses are those of the change that the other half alone makes."""
    attach_adapter(tiny_llava, "broken", AdapterSpec(rank=4, alpha=4, noise=0.3), [0, 1], seed=0)
    first, second = two_folds(rows)
    shown = [{rows[place].conversation.picture_keys for place in half} for half in (first, second)]
    assert len(first) == len(second) == 6 and not shown[0] & shown[1]
    options = Options(budget=12, new_tokens=3, pixels=FAR, keep=tmp_path / "kept")
    shares, found = drain(pgd_universal(tiny_llava, "broken", rows, options))
    assert shares == sorted(shares) and shares[0] >= 0 and shares[-1] <= 1
    for row, attempts in zip(rows, found, strict=True):
        assert [one.budget for one in attempts] == [0, 10, 12]
        assert all(one.prompt_ids == tokens_of(tiny_llava, row.conversation).ids for one in attempts)
        assert all(one.loss is not None and "alike for all pictures" in one.asked for one in attempts)
    # Another target in the first half changes what the second is answered, and nothing of the first's.
    others = list(rows)
    for place in first:
        others[place] = rows[place]._replace(target="Something else")
    _, changed = drain(pgd_universal(tiny_llava, "broken", others, options._replace(keep=None)))
    assert all(changed[place] != found[place] for place in second)
    assert all([a.answer_ids for a in changed[place]] == [a.answer_ids for a in found[place]] for place in first)


def test_the_change_is_kept_as_a_picture_around_grey_that_is_what_was_added(tiny_llava, rows, tmp_path):
    drain(pgd_universal(tiny_llava, None, rows, Options(budget=3, new_tokens=2, pixels=FAR, keep=tmp_path / "kept")))
    files = perturbation_files(tmp_path / "kept")
    assert len(files) == 2
    first, second = (as_pixels(picture_at(file)) for file in files)
    for pixels in (first, second):
        assert 0 < (pixels - 128).abs().max() <= 32
    assert not torch.equal(first, second)


def test_too_few_rows_too_far_and_a_blind_model_are_refused(tiny_llava, tiny_model, rows):
    # Twice the same row is one.
    for few in (rows[:1], rows[:1] * 2):
        with pytest.raises(DataError, match="only one harmful request that shows a picture: give at least two"):
            next(pgd_universal(tiny_llava, None, few, Options(budget=1)))
    with pytest.raises(SpecError, match="moves a colour by 127 at most, not 128"):
        next(pgd_universal(tiny_llava, None, rows, Options(budget=1, pixels=PixelSearch(epsilon=128))))
    with pytest.raises(ModelError, match="sees no pictures"):
        next(pgd_universal(tiny_model, None, rows, Options(budget=1)))


def test_rows_that_all_show_one_picture_are_halved_by_themselves(tmp_path):
    file = painted(tmp_path / "a.png")
    same = [EvaluationRow(showing(f"Question {number}", file)) for number in range(5)]
    halves = two_folds(same)
    assert sorted([*halves[0], *halves[1]]) == [0, 1, 2, 3, 4] and min(map(len, halves)) == 2
    assert two_folds(same) == halves
