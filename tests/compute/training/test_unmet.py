"""What a spec asks for in vain is said before the first step, and nothing else is."""

import pytest

from engine.compute.training.drawing import never_drawn, step_rows
from engine.compute.training.rows import Row
from engine.compute.training.trainer import Rows
from engine.compute.training.unmet import unmet
from engine.records.blocks import resolve_blocks


def row(name: str, label: str = "benign", *, borderline: bool = False, tools: str = "") -> Row:
    return Row(name, label, borderline, (1, 2, 3), 1, tools=tools)


HARMFUL = [row("h", "harmful"), row("t", "harmful", tools="a")]
BENIGN = [row("p"), row("q"), row("b", borderline=True), row("u", tools="a")]
HELD_OUT = [row("v"), row("w", "harmful")]


def said(spec, rows=None) -> list[str]:
    blocks = resolve_blocks(spec, 4)
    return [alert.message for alert in unmet(spec, blocks, rows or Rows(HARMFUL, BENIGN, HELD_OUT, []))]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"schedule.kind": "step"}, "never swaps"),
        ({"schedule.kind": "step", "schedule.switch_at": 0.25}, ""),
        ({"schedule.kind": "step", "schedule.horizon": 6}, ""),
        ({"data.borderline_share": 0.5, "optimizer.retain_batch": 4}, ""),
        ({"data.borderline_share": 0.67, "optimizer.retain_batch": 1}, "3 of 4 benign rows are in no step"),
        ({"data.borderline_share": 0.02, "optimizer.retain_batch": 4}, "1 of 4 benign rows are in no step"),
        ({"data.borderline_share": 0.5, "data.tool_share": 0.5, "optimizer.retain_batch": 4}, ""),
        ({"data.tool_share": 0.5, "optimizer.circuit_breaker_batch": 1}, "1 of 2 harmful rows are in no step"),
    ],
)
def test_schedules_and_shares(tiny_spec, changes, words):
    spec = tiny_spec(
        **{"optimizer.steps": 6, "optimizer.circuit_breaker_batch": 2, "optimizer.retain_batch": 2, **changes}
    )
    found = said(spec)
    assert len(found) == bool(words) and all(words in one for one in found), found


@pytest.mark.parametrize(
    ("benign", "changes", "words"),
    [
        (BENIGN[:2], {}, "is 0.5 and decides nothing: 0 of 2 benign training rows are borderline"),
        (BENIGN[2:3], {}, "1 of 1 benign training rows are borderline"),
        (BENIGN[2:3], {"data.borderline_share": 1.0}, ""),
        (BENIGN[2:], {}, ""),
        (BENIGN[2:], {"data.tool_share": 0.5}, "1 of 1 benign training rows without tools are borderline"),
    ],
)
def test_a_borderline_share_of_rows_of_one_kind(tiny_spec, benign, changes, words):
    spec = tiny_spec(**{"data.borderline_share": 0.5, "optimizer.retain_batch": 4, **changes})
    found = said(spec, Rows(HARMFUL, benign, HELD_OUT, []))
    assert len(found) == bool(words) and all(words in one for one in found), found


@pytest.mark.parametrize("share", [0.02, 0.25, 0.5, 0.67])
@pytest.mark.parametrize("batch", [1, 2, 4])
def test_rows_that_are_said_to_be_in_no_step_are_in_none(tiny_spec, share, batch):
    spec = tiny_spec(**{"data.borderline_share": share, "data.tool_share": share, "optimizer.retain_batch": batch})
    left = never_drawn(spec, HARMFUL, BENIGN)
    drawn = {one.prompt_id for step in range(40) for one in step_rows(spec, HARMFUL, BENIGN, step)}
    for label, side in (("harmful", HARMFUL), ("benign", BENIGN)):
        assert {side[place].prompt_id for place in left.get(label, [])} == {one.prompt_id for one in side} - drawn


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"blocks.targets": "1"}, ""),
        ({"blocks.targets": "1, 3"}, "above block 1, the last retain block, and the last target is block 3"),
        ({"blocks.targets": "1, 3", "loss.retain_blocks": "1-3"}, ""),
        ({"blocks.targets": "1, 3", "loss.answer_weight": 0.5}, ""),
    ],
)
def test_a_target_above_all_that_is_held(tiny_spec, changes, words):
    found = said(tiny_spec(**{"blocks.adapted": "0-1", **changes}))
    assert len(found) == bool(words) and all(words in one for one in found)


def test_what_goes_by_validation_rows(tiny_spec):
    both = tiny_spec(**{"optimizer.keep": "best", "optimizer.stop_drift": 0.5})
    assert said(both) == []
    assert len(said(both, Rows(HARMFUL, BENIGN, [], []))) == 2
    (one,) = said(both, Rows(HARMFUL, BENIGN, [row("v")], []))
    assert "no harmful ones" in one and one.startswith("optimizer.keep")
