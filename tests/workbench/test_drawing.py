"""A curve that is thinned for the screen keeps its ends, its peaks and its dips."""

import numpy as np
import pytest

from workbench.kit.drawing import thin


@pytest.mark.parametrize("count", [1, 20, 21, 39, 57, 1000])
def test_a_thinned_curve_keeps_ends_peaks_and_dips(count):
    values = np.random.default_rng(count).normal(size=count)
    values[count // 3] = np.nan
    kept = thin(values, limit=20)
    assert (np.diff(kept) > 0).all() and kept[0] == 0 and kept[-1] == count - 1
    if count <= 20:
        assert len(kept) == count
        return
    assert len(kept) <= 22
    assert {int(np.nanargmin(values)), int(np.nanargmax(values))} <= set(kept.tolist())
    # No stretch of two buckets is left without a point.
    assert np.diff(kept).max() <= 2 * -(-count // 10)
