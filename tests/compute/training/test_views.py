"""Changed views of a picture: the same thing, drawn otherwise."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from engine.compute.training.views import changed_view


@pytest.fixture
def picture() -> Image.Image:
    """A red wedge that points to the left."""
    image = Image.new("RGB", (64, 64), "white")
    ImageDraw.Draw(image).polygon([(6, 32), (54, 18), (54, 46)], fill=(220, 30, 30))
    return image


def levels(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=float)


def drawn(image: Image.Image) -> np.ndarray:
    """Which pixels are not of the ground, which the first corner shows."""
    return np.abs(levels(image) - levels(image)[0, 0]).max(axis=2) > 40


def test_a_view_is_a_function_of_its_seed_and_others_differ(picture):
    first, again, other = (changed_view(picture, seed, may_mirror=True) for seed in (1, 1, 2))
    assert first.size == picture.size and first.mode == "RGB"
    assert np.array_equal(levels(first), levels(again)) and not np.array_equal(levels(first), levels(other))


def test_the_thing_stays_whole_within_the_picture(picture):
    """Smaller, never cut: what is not ground lies within the frame, and is no larger than it was."""
    before = drawn(picture).sum()
    for seed in range(40):
        inside = drawn(changed_view(picture, seed, may_mirror=False))
        assert 0.1 * before < inside.sum() < 1.3 * before
        assert not inside[0].any() and not inside[-1].any() and not inside[:, 0].any() and not inside[:, -1].any()


def test_only_what_may_be_mirrored_is(picture):
    """More of the thing lies right of its own middle than left of it, unless it is mirrored."""

    def points_left(seed: int, may_mirror: bool) -> bool:
        heights = np.trim_zeros(drawn(changed_view(picture, seed, may_mirror=may_mirror)).sum(axis=0))
        place = np.average(np.arange(len(heights)), weights=heights)
        return bool(place > (len(heights) - 1) / 2)

    assert all(points_left(seed, False) for seed in range(30))
    assert {points_left(seed, True) for seed in range(30)} == {True, False}
