"""The dial of an answer that comes."""

import re

import pytest

from workbench.chat.dial import dial


def hand(html: str) -> tuple[float, float]:
    """Where the hand ends."""
    x, y = re.findall(r"L([\d.]+) ([\d.]+)'", html)[-1]
    return float(x), float(y)


@pytest.mark.parametrize(("cosine", "end"), [(1.0, (48.0, 27.0)), (0.5, (28.0, 7.0)), (0.0, (8.0, 27.0))])
def test_the_hand_goes_from_left_at_0_over_the_top_to_right_at_1(cosine, end):
    """The hand is 20 long and turns about (28, 27)."""
    assert hand(dial(cosine, mark=None, threshold=0.5)) == pytest.approx(end, abs=0.05)


def test_a_cosine_beyond_the_ends_stays_on_the_dial():
    assert hand(dial(-0.4, mark=None, threshold=0.5)) == hand(dial(0.0, mark=None, threshold=0.5))


def test_the_trip_is_named_and_colours_the_hand():
    calm, tripped = dial(0.9, mark=None, threshold=0.5), dial(0.9, mark=3, threshold=0.5)
    assert "tripped" not in calm and "tripped at answer token 4" in tripped
    assert re.findall(r"stroke='(#\w+)'", calm) != re.findall(r"stroke='(#\w+)'", tripped)
