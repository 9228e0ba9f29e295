"""Requests in two halves, so that what is optimised on one half is tried on the other. Knows nothing of models."""

from collections.abc import Sequence

from engine.records.errors import DataError
from engine.records.evaluation.rows import EvaluationRow
from engine.records.prompts import fraction


def two_folds(rows: Sequence[EvaluationRow]) -> tuple[list[int], list[int]]:
    """Places of the rows in two halves, drawn by what they ask. Rows that show one picture stay together, unless all
    of them do. Raises DataError for fewer than two different rows."""
    if len({(row.conversation.asked, row.target) for row in rows}) < 2:
        raise DataError(
            "One perturbation for many requests is tried on requests that it was not made on, and there is only one "
            "harmful request that shows a picture: give at least two."
        )
    groups = _by_picture(rows)
    if len(groups) == 1:
        groups = [[place] for place in range(len(rows))]
    # The largest first, each to the smaller half.
    groups.sort(key=lambda group: (-len(group), fraction(rows[group[0]].conversation.asked), group))
    halves: tuple[list[int], list[int]] = ([], [])
    for group in groups:
        min(halves, key=len).extend(group)
    return sorted(halves[0]), sorted(halves[1])


def _by_picture(rows: Sequence[EvaluationRow]) -> list[list[int]]:
    """Places of rows that share a picture, directly or through others."""
    groups: list[tuple[set[str], list[int]]] = []
    for place, row in enumerate(rows):
        keys, places = set(row.conversation.picture_keys), [place]
        apart = []
        for shown, of in groups:
            if shown & keys:
                keys, places = keys | shown, of + places
            else:
                apart.append((shown, of))
        groups = [*apart, (keys, places)]
    return [places for _, places in groups]
