"""What the plane shows and says: held-out prompts, the finding, the frame and its rim, slides and films."""

import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from making_captures import write_capture
from PIL import Image

from engine.compute.geometry.maps import make_map
from engine.records.captures.capture import Capture
from engine.records.captures.projections import Projection, ProjectionRequest, read_projection
from workbench.kit.plane import Plane, beyond, ellipse, finding, plane_of, random_plane
from workbench.kit.plane_figures import RIM, SYMBOLS, arrows_figure, panels_figure
from workbench.kit.slides import SlideWords, film, slide
from workbench.kit.strip_figure import strip_figure

WORDS = SlideWords("Harmful answers moved <3> $5 deviations_", "run $x_1$ · block 1 · step 20 · n = 4")


def plane(
    *, harmful: float = 3.0, benign: float = 0.1, borderline: float = 0.2, step: int = 20, count: int = 20
) -> Plane:
    """So many prompts of each label around (0, 0), moved along by so much."""
    groups = np.repeat(["harmful", "benign", "borderline"], count)
    places = np.random.default_rng(0).normal(size=(3 * count, 2))
    ways = np.repeat([harmful, benign, borderline], count)
    table = pd.DataFrame(
        {"row": range(3 * count), "prompt": [f"<b>{row}" for row in range(3 * count)], "group": groups}
        | {"category": "a & b", "split": "test", "base_x": places[:, 0], "base_y": places[:, 1]}
        | {"x": places[:, 0] + ways, "y": places[:, 1]}
    )
    return Plane(table, ((-3.0, 6.0), (-3.0, 3.0)), step)


def movement(folder: Path, **more) -> tuple[Capture, Projection]:
    capture = write_capture(folder, harmful=16, benign=15, **more)
    request = ProjectionRequest(key="made", checkpoints=capture.index.checkpoints, block=1, method="movement")
    projection = read_projection(make_map(capture.folder, request))
    assert projection is not None
    return capture, projection


def test_the_title_says_how_far_each_label_moved_and_of_how_many():
    assert finding(plane()) == (
        "Harmful answers moved 3.0 deviations, benign 0.1, borderline 0.2; n = 20 + 20 + 20, held out"
    )
    assert finding(plane(harmful=0.1)).startswith("Nothing moved: harmful answers 0.1 deviations, benign 0.1")
    assert finding(plane(benign=2.5)).startswith("Not only harmful answers moved: 3.0 deviations, benign 2.5")
    assert finding(plane(step=0)).startswith("The base model, before any step")
    assert "−63 deviations" in finding(plane(harmful=-63.2))


def test_only_prompts_that_did_not_make_the_plane_are_shown_in_one_frame_for_all_steps(tmp_path: Path):
    capture, projection = movement(tmp_path)
    planes = [plane_of(capture, projection, step, "response_mean") for step in (0, 10, 20)]
    fitted = np.flatnonzero(projection.fitted)
    assert len(fitted) == 15 and not set(fitted) & set(planes[0].table["row"])
    assert planes[0].counts == {"harmful": 8, "benign": 5, "borderline": 3}
    assert planes[0].frame == planes[1].frame == planes[2].frame
    assert planes[0].moved["harmful"] == 0 < planes[1].moved["harmful"] < planes[2].moved["harmful"]
    assert abs(planes[2].moved["benign"]) < 1e-5
    assert random_plane(capture, projection, "response_mean") is None


def test_outliers_are_marked_at_the_rim_and_hovering_tells_their_true_place():
    found = plane()
    found.table.loc[0, ["x", "y"]] = (50.0, 0.0)
    found.table.loc[1, ["x", "y"]] = (0.0, -9.0)
    held, sides = beyond(found.after, found.frame)
    assert list(sides[:3]) == ["right", "down", ""] and held[0, 0] < 6 and held[1, 1] > -3
    dots = next(trace for trace in arrows_figure(found).data if trace.customdata is not None)
    assert list(dots.marker.symbol[:2]) == [RIM["right"], RIM["down"]]
    assert dots.customdata[0][5] == "50.0" and "beyond" in dots.customdata[0][7] and not dots.customdata[2][7]


@pytest.mark.parametrize("draw", [arrows_figure, panels_figure])
def test_one_shape_and_colour_a_label_and_a_selection_lights_up(draw):
    figure = draw(plane(), selected={1, 25})
    dots = [trace for trace in figure.data if trace.customdata is not None]
    looks = {(trace.name.split(",")[0], trace.marker.symbol[0]) for trace in dots}
    assert looks == set(SYMBOLS.items())
    assert {trace.marker.size[0] for trace in dots} == {11}
    lit = {trace.customdata[at][0] for trace in dots for at in trace.selectedpoints}
    assert lit == {1, 25}
    assert "&lt;b>0" in dots[0].customdata[0][1]
    names = {trace.name for trace in figure.data if trace.showlegend is not False}
    assert {"mean; ellipse: 1 standard deviation", "hollow: before"} <= names


def test_the_ellipse_is_one_standard_deviation_of_the_places():
    places = np.random.default_rng(0).normal(size=(4000, 2)) * [3, 1] + [10, 0]
    outline = ellipse(places)
    np.testing.assert_allclose([np.ptp(outline[:, 0]) / 2, np.ptp(outline[:, 1]) / 2], [3, 1], rtol=0.06)
    assert ellipse(places[:2]) is None and ellipse(np.zeros((9, 2))) is None


def test_the_strip_has_a_dot_for_each_prompt_with_a_cosine_and_says_the_means():
    figure = strip_figure(["harmful", "harmful", "benign"], [0.2, 0.4, float("nan")], ["a", "b", "c"])
    assert list(figure.data[0].y) == [0.2, 0.4] and len(figure.data) == 2
    assert list(figure.layout.xaxis.ticktext) == ["harmful<br><b>0.30</b>"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_slide_is_sixteen_to_nine_the_same_each_time_and_shows_words_letter_by_letter(theme):
    first = slide(plane(), WORDS, kind="png", theme=theme)
    assert first == slide(plane(), WORDS, kind="png", theme=theme)
    assert Image.open(io.BytesIO(first)).size == (1600, 900)
    assert Image.open(io.BytesIO(slide(plane(), WORDS, kind="png", theme=theme, width=3200))).size == (3200, 1800)
    vector = slide(plane(), WORDS, kind="svg", theme=theme)
    assert vector == slide(plane(), WORDS, kind="svg", theme=theme) and re.search(rb"<svg[^>]* viewBox=", vector)


def test_a_film_has_every_step_lasts_ten_seconds_at_most_and_needs_two():
    planes = [plane(harmful=step, step=round(step)) for step in range(12)]
    found = Image.open(io.BytesIO(film(planes, [WORDS] * 12, theme="light")))
    assert found.size == (1280, 720) and found.n_frames > 12
    lengths = []
    for number in range(found.n_frames):
        found.seek(number)
        lengths.append(found.info["duration"])
    assert sum(lengths) <= 10_500
    with pytest.raises(ValueError, match="at least two"):
        film(planes[:1], [WORDS], theme="dark")
