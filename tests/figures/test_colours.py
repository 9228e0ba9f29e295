"""One figure serves both themes: each colour stands out from the white and from the dark ground (WCAG 1.4.11: 3:1)."""

import tomllib

import numpy as np
import pytest

from engine.figures import colours
from engine.records.settings import ROOT

THEME = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())["theme"]
NAMED = {name: value for name, value in vars(colours).items() if isinstance(value, str) and value.startswith("#")}
EVERY = [*NAMED.values(), *colours.RUNS, *colours.depth_colours(40)]


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    share = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(first: str, second: str) -> float:
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_the_contrast_of_black_on_white_is_21():
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_colour_of_figures_stands_out_from_the_ground(theme):
    ground = THEME[theme]["backgroundColor"]
    assert {colour: contrast(colour, ground) for colour in EVERY if contrast(colour, ground) < 3} == {}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_links_and_buttons_can_be_read(theme):
    """Text 7:1, links 4.5:1, and what is pressed 3:1 against the ground."""
    part = THEME[theme]
    assert contrast(part["textColor"], part["backgroundColor"]) >= 7
    assert contrast(part["linkColor"], part["backgroundColor"]) >= 4.5
    assert contrast(part["primaryColor"], part["backgroundColor"]) >= 3
    assert contrast("#FFFFFF", part["primaryColor"]) >= 3.5


def test_the_colours_of_runs_are_seven_and_none_is_near_another():
    assert len(set(colours.RUNS)) == 7
    values = [np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) for colour in colours.RUNS]
    apart = [np.linalg.norm(a - b) for index, a in enumerate(values) for b in values[:index]]
    assert min(apart) > 40
