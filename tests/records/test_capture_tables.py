"""Tables of captures: maps in a frozen frame, fair samples, movement, tokens."""

from pathlib import Path

import numpy as np
import pytest
from making_captures import write_capture, write_map

from engine.records.captures.capture import BASE
from engine.records.captures.projections import (
    BlockExamination,
    Examination,
    MapFigures,
    Projection,
    ProjectionRequest,
    TokenView,
    projection_file,
    read_projection,
)
from engine.records.captures.tables import (
    block_table,
    examination_table,
    map_ranges,
    map_table,
    movement_table,
    prompt_movements,
    prompt_table,
    sampled,
    token_table,
    trip_token,
)
from engine.records.errors import RunError


def test_a_map_table_carries_places_but_no_text(tmp_path: Path):
    capture = write_capture(tmp_path)
    request = ProjectionRequest(key="made", block=1)
    write_map(capture, request, MapFigures())
    projection = read_projection(projection_file(capture, request))
    assert projection is not None
    table = map_table(capture, projection, "step-000020", "response_mean")
    assert list(table["row"]) == list(range(12))
    assert np.allclose(table["base_x"], capture.vectors(BASE, "response_mean", 1)[:, 0])
    assert np.allclose(table["x"], capture.vectors("step-000020", "response_mean", 1)[:, 0])
    assert not any(prompt.text in table.to_csv() for prompt in capture.index.prompts)


def test_points_without_a_place_are_left_out_and_keep_the_rows_of_the_others(tmp_path: Path):
    capture = write_capture(tmp_path)
    points = np.arange(24, dtype=float).reshape(12, 2)
    broken = points.copy()
    broken[3] = np.nan
    projection = Projection({BASE: points, "step-000010": broken}, {}, (), ("x", "y"), ())
    table = map_table(capture, projection, "step-000010", "response_mean")
    assert 3 not in set(table["row"]) and len(table) == 11


def test_every_token_is_a_point_of_its_prompt(tmp_path: Path):
    capture = write_capture(tmp_path, tokens=("every",))
    points = np.zeros((24, 2))
    table = map_table(capture, Projection({BASE: points}, {}, (), ("x", "y"), ()), BASE, "every")
    assert list(table["row"]) == list(np.repeat(range(12), 2))
    assert list(table["token"]) == [0, 1] * 12


def test_a_map_of_another_capture_is_refused_in_words(tmp_path: Path):
    capture = write_capture(tmp_path)
    with pytest.raises(RunError, match="5 points"):
        map_table(capture, Projection({BASE: np.zeros((5, 2))}, {}, (), ("x", "y"), ()), BASE, "response_mean")


def test_the_frame_of_a_map_holds_every_state():
    """Base from 0 to 10 and a later state at 110: the frame spans 0 to 110 and 6 % of it on both sides."""
    points = {BASE: np.array([[0.0, 0.0], [10.0, 1.0]]), "step-000010": np.array([[110.0, 0.0], [110.0, 1.0]])}
    (low, high), _ = map_ranges(Projection(points, {}, (), ("x", "y"), ()))
    assert (low, high) == pytest.approx((-6.6, 116.6))


def test_samples_keep_small_classes_whole_and_repeat_with_the_seed():
    """30 points of 1,000 + 5 + 1,000: the 5 are kept, the other 25 are shared 12 and 13."""
    groups = ["harmful"] * 1000 + ["borderline"] * 5 + ["benign"] * 1000
    places = sampled(groups, limit=30, seed=1)
    kept = [groups[place] for place in places]
    assert len(places) == 30 and kept.count("borderline") == 5
    assert sorted((kept.count("harmful"), kept.count("benign"))) == [12, 13]
    assert np.array_equal(places, sampled(groups, limit=30, seed=1))
    assert not np.array_equal(places, sampled(groups, limit=30, seed=2))
    assert np.array_equal(sampled(groups, limit=5000), np.arange(2005))


def test_movement_is_a_mean_per_block_step_and_group(tmp_path: Path):
    table = movement_table(write_capture(tmp_path, steps=(10, 40)), ("cosine", "drift"))
    row = table[(table["block"] == 2) & (table["step"] == 40) & (table["group"] == "harmful")].iloc[0]
    assert (row["cosine"], row["drift"], row["prompts"]) == (pytest.approx(0.6), pytest.approx(0.8), 6)
    assert set(table[table["group"] == "borderline"]["cosine"]) == {1.0}
    assert len(table) == 3 * 2 * 3


def test_a_capture_of_the_base_alone_has_no_movement(tmp_path: Path):
    capture = write_capture(tmp_path, steps=())
    assert movement_table(capture).empty
    assert set(prompt_movements(capture, BASE)["cosine"]) == {1.0}
    assert set(prompt_movements(capture, BASE)["drift"]) == {0.0}


def test_loss_contributions_are_of_target_and_adapted_blocks(tmp_path: Path):
    moved = prompt_movements(write_capture(tmp_path), "step-000020")
    assert moved["cosine"].iloc[0] == pytest.approx(0.8)
    assert moved["drift"].iloc[-1] == pytest.approx(0.05)


def test_the_block_table_joins_what_moved_with_probes_before_and_after(tmp_path: Path):
    capture = write_capture(tmp_path)
    one = BlockExamination(block=1, auc=0.9, auc_borderline=None, auc_after=0.6, distance=1.5, top_energy=0.4)
    examination = Examination(blocks=(one,), targets="1", adapted="0-1", reason="")
    table = block_table(capture, "step-000020", examination).set_index("block")
    assert table.loc[1, "auc"] == 0.9 and table.loc[1, "auc_after"] == 0.6 and np.isnan(table.loc[0, "auc"])
    assert table.loc[1, "cosine_harmful"] == pytest.approx(0.8) and table.loc[1, "cosine_benign"] == 1.0
    moved = movement_table(capture, ("cosine", "norm_ratio", "drift"))
    for row in moved[moved["step"] == 20].to_dict("records"):
        for measure in ("cosine", "norm_ratio", "drift"):
            assert table.loc[row["block"], f"{measure}_{row['group']}"] == pytest.approx(row[measure], nan_ok=True)
    assert np.isnan(examination_table(examination)["auc_borderline"].iloc[0])


def test_the_prompt_table_is_in_the_order_of_the_vectors(tmp_path: Path):
    capture = write_capture(tmp_path)
    assert list(prompt_table(capture)["prompt"]) == [prompt.id for prompt in capture.index.prompts]


def test_the_breaker_trips_at_the_first_answer_token_below_the_threshold():
    """Means over target blocks 1 and 3, tokens 0 to 3: 0.1, 0.9, 0.4, 0.0. Token 0 belongs to the prompt."""
    cosine = ((1.0, 0.1, 0.1), (0.0, 0.9, 0.9), (1.0, 0.7, 0.1), (1.0, 0.0, 0.0))
    view = TokenView(
        prompt_id="p",
        tokens=("a", "b", "c", "d"),
        response_start=1,
        blocks=(0, 1, 3),
        cosine=cosine,
        base_norm=cosine,
        rerouted_norm=cosine,
        trip=None,
    )
    assert trip_token(view, (1, 3), 0.5) == 2
    assert trip_token(view, (1, 3), 0.3) == 3
    assert trip_token(view, (1, 3), -0.5) is None
    table = token_table(view)
    assert len(table) == 12 and "a" not in table.to_csv(index=False).split(",")
    assert table[(table["token"] == 2) & (table["block"] == 3)]["cosine"].item() == 0.1
    assert list(table.groupby("token")["response"].first()) == [False, True, True, True]
