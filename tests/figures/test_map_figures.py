"""Figures of the Representations page: what is drawn where, in which colours, and what is said of it."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from making_captures import write_capture

from engine.figures.colours import BENIGN, BORDERLINE, HARMFUL
from engine.figures.maps import axis_titles, one_map, two_maps
from engine.records.captures.capture import BASE, Capture
from engine.records.captures.projections import MapFigures, Projection
from engine.records.captures.tables import map_ranges, map_table, sampled
from workbench.kit.downloads import picture_config
from workbench.representations.map_words import Said, is_chance, is_reversed, map_sentences

STATE = "step-000020"
# Machado, Oliveira and Fernandes 2009: how linear RGB looks to people without one kind of cone.
SEEN = {
    "all cones": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "no green": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "no red": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "no blue": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


def drawn_maps(capture: Capture, dimensions: int = 2) -> tuple[pd.DataFrame, Projection]:
    points = {
        state: capture.vectors(state, "response_mean", 1)[:, :dimensions].astype(float)
        for state in capture.index.checkpoints
    }
    projection = Projection(points, {}, (), ("first", "second", "third")[:dimensions], ())
    return map_table(capture, projection, STATE, "response_mean"), projection


def maps(capture: Capture, dimensions: int = 2, **more):
    table, projection = drawn_maps(capture, dimensions)
    axes = axis_titles(projection.axes, projection.explained)
    return two_maps(table, axes=axes, ranges=map_ranges(projection), titles=("Base", "Broken"), **more)


def places_of(trace) -> list[int]:
    return [int(row[0]) for row in trace.customdata] if trace.customdata is not None else []


def test_both_maps_hold_the_same_prompts_in_the_same_frame(tmp_path: Path):
    figure = maps(write_capture(tmp_path))
    left = sorted(place for trace in figure.data if trace.xaxis == "x" for place in places_of(trace))
    right = sorted(place for trace in figure.data if trace.xaxis == "x2" for place in places_of(trace))
    assert left == right == list(range(12))
    assert figure.layout.xaxis.range == figure.layout.xaxis2.range
    assert figure.layout.yaxis2.matches == "y" and figure.layout.xaxis2.matches == "x"


def test_colours_say_the_group_and_symbols_the_split(tmp_path: Path):
    figure = maps(write_capture(tmp_path))
    looks = {(trace.name, trace.marker.color) for trace in figure.data if places_of(trace)}
    assert looks == {("harmful", HARMFUL), ("benign", BENIGN), ("borderline", BORDERLINE)}
    symbols = {(row[3], trace.marker.symbol) for trace in figure.data if places_of(trace) for row in trace.customdata}
    assert symbols == {("validation", "circle"), ("test", "diamond")}
    assert len({trace.name for trace in figure.data if trace.showlegend is not False}) == 5


def test_a_selection_lights_up_the_same_prompts_in_both_maps(tmp_path: Path):
    figure = maps(write_capture(tmp_path), selected={1, 8})
    for axis in ("x", "x2"):
        panel = [trace for trace in figure.data if trace.xaxis == axis and places_of(trace)]
        lit = [places_of(trace)[at] for trace in panel for at in trace.selectedpoints]
        assert sorted(lit) == [1, 8]


def test_hovering_shows_id_and_category_and_no_text(tmp_path: Path):
    capture = write_capture(tmp_path)
    figure = maps(capture)
    assert all(trace.hovertemplate.count("customdata") == 3 for trace in figure.data if places_of(trace))
    assert not any(prompt.text in figure.to_json() for prompt in capture.index.prompts)


def test_three_dimensions_share_one_frame_too(tmp_path: Path):
    figure = maps(write_capture(tmp_path), dimensions=3)
    assert figure.layout.scene.zaxis.range == figure.layout.scene2.zaxis.range
    assert all(trace.type == "scatter3d" for trace in figure.data)


def test_arrows_lead_from_the_base_place_to_the_place_of_the_state(tmp_path: Path):
    table, projection = drawn_maps(write_capture(tmp_path))
    ranges = map_ranges(projection)
    figure = one_map(table, axes=("a", "b"), ranges=ranges, title="t", arrows=True, selected={0})
    way = next(trace for trace in figure.data if trace.mode == "lines+markers")
    row = table[table["row"] == 0].iloc[0]
    assert list(way.x[:2]) == [row["base_x"], row["x"]] and np.isnan(way.x[2]) and len(way.x) == 3
    still = one_map(table, axes=("a", "b"), ranges=ranges, title="t", arrows=False)
    assert not any(trace.mode == "lines+markers" for trace in still.data)


def test_many_points_are_left_to_the_graphics_card_and_never_more_than_twenty_thousand(tmp_path: Path):
    capture = write_capture(tmp_path, harmful=2500, benign=2500)
    assert {trace.type for trace in maps(capture).data} == {"scattergl"}
    assert len(sampled(["harmful"] * 15_000 + ["benign"] * 15_000)) == 20_000


def test_what_is_no_better_than_chance_is_said_in_words():
    chance = MapFigures(auc=0.97, map_auc=0.55, shuffled_auc=0.61, trustworthiness=0.9)
    assert is_chance(chance)
    assert map_sentences(chance) == [
        Said(
            "On this map harmful and benign separate no better than chance (AUC 0.55, shuffled labels reach 0.61). "
            "The activations themselves do separate (AUC 0.97).",
            "warning",
        )
    ]
    clear = MapFigures(auc=0.97, map_auc=0.9, shuffled_auc=0.61, trustworthiness=0.6)
    assert not is_chance(clear)
    separate, neighbours = map_sentences(clear)
    assert "better than chance" in separate.text and "trustworthiness 0.60" in neighbours.text
    assert (separate.sign, neighbours.sign) == ("check", "warning")
    assert "Too few" in map_sentences(MapFigures())[0].text


@pytest.mark.parametrize(
    ("auc", "rerouted", "words", "sign"),
    [
        (0.26, False, "the other way round", "warning"),
        (0.26, True, "After rerouting harmful and benign lie the other way round", "info"),
        (0.5, False, "no better than chance", "warning"),
        (0.5, True, "After rerouting harmful and benign no longer lie apart", "info"),
        (0.9, False, "better than chance", "check"),
        (0.9, True, "After rerouting harmful and benign separate", "info"),
    ],
)
def test_sentences_know_before_from_after_and_success_wears_no_warning(auc, rerouted, words, sign):
    """Shuffled labels reach 0.70, and so 0.30 the other way round."""
    figures = MapFigures(auc=0.6, map_auc=auc, shuffled_auc=0.7, trustworthiness=0.9)
    (said,) = map_sentences(figures, rerouted=rerouted)
    assert words in said.text and said.sign == sign and f"AUC {auc:.2f}" in said.text
    assert ("chance" not in said.text or auc != 0.26) or "0.5 is chance" in said.text
    assert is_chance(figures) == (auc == 0.5) and is_reversed(figures) == (auc == 0.26)


def test_axis_titles_say_how_much_they_explain():
    assert axis_titles(("component 1", "component 2"), (0.41, 0.07)) == [
        "component 1 (41 % of the variance)",
        "component 2 (7 % of the variance)",
    ]
    assert axis_titles(("UMAP 1",), ()) == ["UMAP 1"]


def test_the_camera_writes_a_file_that_says_what_it_shows():
    assert picture_config("map-block-3")["toImageButtonOptions"]["filename"] == "map-block-3"


@pytest.mark.parametrize("eyes", SEEN)
def test_the_three_colours_stay_apart_for_every_kind_of_eye(eyes: str):
    """Distances in CIELAB; about 2 can just be seen, 25 is another colour at a glance."""

    def seen(colour: str) -> np.ndarray:
        value = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
        linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
        light = np.clip(np.array(SEEN[eyes]) @ linear, 0, 1)
        to_xyz = np.array([(0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505)])
        x, y, z = np.cbrt(to_xyz @ light / (0.9505, 1, 1.089))
        return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])

    for one, other in combinations((HARMFUL, BENIGN, BORDERLINE), 2):
        assert np.linalg.norm(seen(one) - seen(other)) > 25


def test_the_base_state_of_a_map_is_where_the_base_map_has_it(tmp_path: Path):
    capture = write_capture(tmp_path)
    _, projection = drawn_maps(capture)
    table = map_table(capture, projection, BASE, "response_mean")
    assert (table["x"] == table["base_x"]).all() and (table["y"] == table["base_y"]).all()
