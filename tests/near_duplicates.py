"""Which texts say nearly the same: by the runs of three words that they share. No fixtures: any test may import it."""

from collections.abc import Iterator, Sequence
from itertools import combinations


def shingles(text: str) -> set[tuple[str, ...]]:
    words = "".join(letter if letter.isalnum() else " " for letter in text.lower()).split()
    return {tuple(words[index : index + 3]) for index in range(max(1, len(words) - 2))}


def similarities(texts: Sequence[str], own: int | None = None) -> Iterator[tuple[int, int, float]]:
    """Places of two texts that share a run of words, and their Jaccard similarity. own: of each pair one at least is
    among so many first ones (default: any two)."""
    found = [shingles(text) for text in texts]
    by_shingle: dict[tuple[str, ...], list[int]] = {}
    for index, runs in enumerate(found):
        for run in runs:
            by_shingle.setdefault(run, []).append(index)
    pairs = {pair for indices in by_shingle.values() for pair in combinations(indices, 2)}
    for left, right in pairs:
        if own is None or left < own:
            yield left, right, len(found[left] & found[right]) / len(found[left] | found[right])
