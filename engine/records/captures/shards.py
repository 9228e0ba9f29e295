"""In which parts prompts are captured and written. Knows nothing of vectors or files."""

from collections.abc import Sequence

SHARD_BYTES = 64 * 2**20


def shards(sizes: Sequence[int]) -> Sequence[slice]:
    """Prompts are captured and written in parts of at most SHARD_BYTES (a larger one alone), which bounds the memory.

    sizes: of each prompt's vectors, in bytes.
    """
    # The number in a file's name has three digits.
    most = max(SHARD_BYTES, sum(sizes) // 400)
    parts: list[slice] = []
    start = held = 0
    for place, size in enumerate(sizes):
        if place > start and held + size > most:
            parts.append(slice(start, place))
            start, held = place, 0
        held += size
    return [*parts, slice(start, len(sizes))]
