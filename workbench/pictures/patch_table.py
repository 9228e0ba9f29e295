"""The patches of a picture as a table, to read and to download. Pure: knows nothing of Streamlit."""

from collections.abc import Sequence

import pandas as pd


def patch_table(rows: Sequence[Sequence[float]]) -> pd.DataFrame:
    """A line a row of patches from the top, a column a patch from the left, both counted from 1; values are cosines."""
    columns = [f"column {place + 1}" for place in range(len(rows[0]) if rows else 0)]
    table = pd.DataFrame([list(row) for row in rows], columns=columns)
    table.insert(0, "row", range(1, len(table) + 1))
    return table
