"""Figures of the Representations page: what is drawn where, in which colours, and what is said of it."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from making_captures import write_capture

from engine.records.captures.capture import BASE, Capture
from engine.records.captures.projections import BlockExamination, Examination, MapFigures, Projection, TokenView
from engine.records.captures.tables import examination_table, map_ranges, map_table, movement_table, sampled
from workbench.kit.colours import BENIGN, BORDERLINE, HARMFUL
from workbench.kit.downloads import picture_config
from workbench.kit.words import token_name
from workbench.representations.block_figures import movement_figure, separation_figure, token_figure
from workbench.representations.block_words import movement_finding, separation_finding
from workbench.representations.map_figures import axis_titles, one_map, two_maps
from workbench.representations.map_words import Said, is_chance, is_reversed, map_sentences
from workbench.representations.strip import block_strip, strip_words

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


def test_separation_marks_the_suggested_block_and_each_point_knows_its_block():
    blocks = tuple(
        BlockExamination(block=block, auc=0.9, auc_borderline=None, distance=1.0, top_energy=0.3) for block in (4, 5)
    )
    table = examination_table(Examination(blocks=blocks, targets="5", adapted="4-5", reason=""))
    figure = separation_figure(table, (5,))
    assert {(shape.x0, shape.x1) for shape in figure.layout.shapes if shape.type == "rect"} == {(4.6, 5.4)}
    assert [int(row[0]) for row in figure.data[0].customdata] == [4, 5]


def examined(auc: float, low: float) -> Examination:
    one = BlockExamination(
        block=4, auc=auc, auc_low=low, auc_high=0.95, auc_chance=0.7, auc_borderline=None, distance=1, top_energy=0.3
    )
    targets = "4" if low > 0.7 else ""
    return Examination(blocks=(one,), targets=targets, adapted=targets, reason="", harmful=48, benign=32)


def test_separation_shows_intervals_what_shuffled_labels_reach_and_n():
    examination = examined(0.9, 0.8)
    finding = separation_finding(examination)
    assert finding == (
        "Block 4 tells harmful from benign: AUC 0.90 (0.80 to 0.95), shuffled labels 0.70; n = 48 harmful + 32 benign"
    )
    figure = separation_figure(examination_table(examination), (4,), finding=finding)
    curves = [tuple(trace.y) for trace in figure.data]
    assert {(0.8,), (0.95,), (0.7,), (0.9,)} <= set(curves)
    band = next(trace for trace in figure.data if trace.fill == "tonexty")
    assert tuple(band.y) == (0.8,) and "n = 48" in figure.layout.title.text.replace("<br>", " ")
    assert figure.layout.margin.t > separation_figure(examination_table(examination), (4,)).layout.margin.t


def test_a_block_that_does_not_clear_chance_is_not_called_the_best():
    assert separation_finding(examined(0.6, 0.4)).startswith("No block surely tells harmful from benign")


def test_an_examination_of_version_0_1_is_drawn_without_intervals():
    one = BlockExamination(block=4, auc=0.9, auc_borderline=None, distance=1, top_energy=0.3)
    examination = Examination(blocks=(one,), targets="4", adapted="4", reason="")
    assert "n =" not in separation_finding(examination)
    figure = separation_figure(examination_table(examination), (4,), finding=separation_finding(examination))
    assert not any(trace.fill for trace in figure.data)


def test_the_title_of_the_movement_says_block_cosines_tokens_and_n(tmp_path: Path):
    """Harmful cosines fall to 1 - 20 / 100; benign and borderline ones stay at 1. Of 6 benign, 2 are borderline."""
    capture = write_capture(tmp_path, steps=(10, 20), averaged=("answer", "all"))
    finding = movement_finding(movement_table(capture, averaged="answer"), "answer")
    assert finding == (
        "Block 0 turned harmful answers furthest: cosine harmful 0.80, benign 1.00, borderline 1.00; over answer "
        "tokens, step 20, n = 6 + 4 + 2"
    )
    figure = movement_figure(movement_table(capture, averaged="answer"), finding=finding)
    assert "harmful (n = 6)" in [one.text for one in figure.layout.annotations]
    still = write_capture(tmp_path / "still", steps=(5,))
    assert movement_finding(movement_table(still), None).startswith("No block turned harmful answers away")


def test_the_same_tokens_of_both_sides_are_not_those_of_version_0_1(tmp_path: Path):
    capture = write_capture(tmp_path, steps=(20,), averaged=("answer", "all"))

    def cosine(group: str, averaged) -> float:
        table = movement_table(capture, averaged=averaged)
        return float(table[table["group"] == group]["cosine"].iloc[0])

    assert (cosine("harmful", None), cosine("harmful", "answer")) == (pytest.approx(0.8), pytest.approx(0.8))
    assert cosine("benign", "answer") == pytest.approx(1) and cosine("harmful", "all") == pytest.approx(0.9)


def test_each_cell_of_the_movement_maps_can_be_clicked(tmp_path: Path):
    figure = movement_figure(movement_table(write_capture(tmp_path)))
    targets = [trace for trace in figure.data if trace.type == "scatter"]
    cells = {(int(row[0]), int(row[1])) for row in targets[0].customdata}
    assert cells == {(block, step) for block in (0, 1, 2) for step in (10, 20)}
    heat = next(trace for trace in figure.data if trace.type == "heatmap")
    clicked = {(int(row[0]), int(row[1])): float(row[2]) for row in targets[0].customdata}
    for down, block in enumerate(heat.y):
        for across, step in enumerate(heat.x):
            assert heat.z[down][across] == clicked[int(block), int(step)]


def token_view() -> TokenView:
    numbers = ((1.0, 0.9), (0.8, 0.4), (0.2, 0.1))
    return TokenView(
        prompt_id="p",
        tokens=("How", " <b>", "\n"),
        response_start=1,
        blocks=(0, 1),
        cosine=numbers,
        base_norm=numbers,
        rerouted_norm=numbers,
        trip=None,
    )


def test_a_hidden_answer_shows_numbers_instead_of_words():
    hidden = token_figure(token_view(), trip=2, hidden=True, targets=(1,))
    assert "How" not in hidden.to_json() and "b>" not in hidden.to_json()
    shown = token_figure(token_view(), trip=2, hidden=False, targets=(1,))
    assert tuple(shown.layout.xaxis2.ticktext) == ("How", "·&lt;b>", "↵")


@pytest.mark.parametrize("after", [1.0, 0.5, 2.0, 2.6, 0.01])
def test_an_unchanged_norm_is_white_and_half_and_double_are_as_far_from_it(after: float):
    numbers = ((1.0, 1.0), (2.0, 2.0), (4.0, 4.0))
    changed = tuple(tuple(after * number for number in row) for row in numbers)
    view = token_view().model_copy(update={"base_norm": numbers, "rerouted_norm": changed})
    figure = token_figure(view, trip=None, hidden=True, targets=(1,))
    scale = figure.layout.coloraxis2
    assert -scale.cmin == scale.cmax >= 1 and scale.cmid == 0
    assert next(colour for place, colour in scale.colorscale if place == 0.5).upper() == "#FFFFFF"
    assert np.allclose(figure.data[1].z, np.log2(after))
    ticks = dict(zip(scale.colorbar.tickvals, scale.colorbar.ticktext, strict=True))
    assert ticks[0] == "1x" and len(ticks) <= 9 and all(label == f"{2.0**power:g}x" for power, label in ticks.items())
    assert after == 0.01 or {ticks[-1], ticks[1]} == {"0.5x", "2x"}


def test_tokens_are_counted_from_one_in_the_prompt_and_in_the_answer():
    assert [token_name(place, answer_start=2) for place in range(4)] == [
        "prompt token 1",
        "prompt token 2",
        "answer token 1",
        "answer token 2",
    ]
    assert token_name(0) == "answer token 1"
    figure = token_figure(token_view(), trip=2, hidden=True, targets=(1,))
    assert any("trips at answer token 2" in (one.text or "") for one in figure.layout.annotations)
    assert tuple(figure.layout.xaxis2.ticktext) == ("1", "1", "2")
    assert figure.data[0].customdata[0][0][0] == "prompt token 1"


def test_the_strip_of_blocks_marks_target_and_adapted_blocks():
    html = block_strip(range(10, 20), (14,), (12, 13, 14))
    assert html.count("data-kind='target'") == 1 and html.count("data-kind='adapted'") == 2
    assert "left:44.444%" in html.split("data-kind='target'")[1]
    assert strip_words(range(10, 20), (14,), (12, 13, 14)) == (
        ":red[**target 14**] · :orange[adapters 12-14] · captured 10-19"
    )
    assert strip_words((1, 2), (), ()) == "captured 1-2"


def test_the_token_where_the_breaker_trips_is_marked():
    def lines(trip: int | None) -> set[float]:
        figure = token_figure(token_view(), trip=trip, hidden=True, targets=(1,))
        return {shape.x0 for shape in figure.layout.shapes}

    assert lines(2) == {0.5, 2} and lines(None) == {0.5}


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
