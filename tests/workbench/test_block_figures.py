"""Charts over blocks: separation with its certainty, movement, tokens; what they say, and how tokens are counted."""

from pathlib import Path

import numpy as np
import pytest
from making_captures import write_capture

from engine.figures.blocks import movement_figure, separation_figure, token_figure
from engine.figures.labels import token_name
from engine.records.captures.projections import BlockExamination, Examination, TokenView
from engine.records.captures.tables import examination_table, movement_table
from workbench.representations.block_words import movement_finding, separation_finding
from workbench.representations.strip import block_strip, strip_words


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
        ":orange[■] **target 14** · :yellow[■] adapters 12-14 · captured 10-19"
    )
    assert strip_words((1, 2), (), ()) == "captured 1-2"


def test_the_token_where_the_breaker_trips_is_marked():
    def lines(trip: int | None) -> set[float]:
        figure = token_figure(token_view(), trip=trip, hidden=True, targets=(1,))
        return {shape.x0 for shape in figure.layout.shapes}

    assert lines(2) == {0.5, 2} and lines(None) == {0.5}
