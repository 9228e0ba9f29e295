"""A legend of several lines lies below a chart's title and the line that says what was measured, never over them."""

import pytest

from engine.figures.curves import run_figures
from engine.records.events import HeldoutResult
from engine.records.tables import run_tables


def figures(blocks: int, others: int):
    cosine = {str(block): 0.5 for block in range(blocks)}
    drift = {str(block): 0.1 for block in range(others)}
    looks = [
        HeldoutResult(
            step=step,
            split="validation",
            cosine=cosine,
            raw_cosine=cosine,
            benign_cosine=drift,
            drift=drift,
            harmful_rows=4,
            benign_rows=4,
        )
        for step in (0, 5)
    ]
    return run_figures(run_tables(looks))


@pytest.mark.parametrize(("blocks", "lines"), [(1, 1), (3, 1), (4, 2), (6, 2), (12, 1)])
def test_a_chart_of_blocks_is_as_much_higher_as_its_legend(blocks, lines):
    few, found = figures(1, 1), figures(1, blocks)
    more = found["drift"].layout.margin.t - few["drift"].layout.margin.t
    assert more == 16 * (lines - 1)
    assert found["drift"].layout.height - few["drift"].layout.height == more


def test_two_charts_beside_each_other_begin_at_one_height():
    found = figures(1, 5)
    assert found["cosine"].layout.margin.t == found["drift"].layout.margin.t
    assert found["cosine"].layout.height == found["drift"].layout.height
