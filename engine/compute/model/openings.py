"""What prompts open with alike, so that it is read once: all of them a chat template's first turn, or, where they offer
tools, some of them the same tools. Knows nothing of models.
"""

from collections.abc import Sequence

from engine.compute.model.activations import SHARED_TOKENS, shared_tokens
from engine.compute.model.text import common_opening

# Prompts belong together where so large a share of each is what they open with.
ALIKE_SHARE = 0.5


def opening_lengths(prompts: Sequence[Sequence[int]], kinds: Sequence[object]) -> list[int]:
    """How many tokens of each prompt are read once, with those of all other prompts that have the same ones and the
    same kind (a voice); 0 for all where that does not pay.

    Either one opening for all, or one for each group of prompts that are alike in at least half of their tokens,
    whichever needs fewer positions, padding included.
    """
    longest = max(map(len, prompts))
    best, fewest = [0] * len(prompts), len(prompts) * longest
    for lengths in ([shared_tokens(prompts)] * len(prompts), _alike(prompts)):
        openings = {
            (tuple(prompt[:length]), kind) for prompt, length, kind in zip(prompts, lengths, kinds, strict=True)
        }
        rest = max(len(prompt) - length for prompt, length in zip(prompts, lengths, strict=True))
        positions = len(openings) * max(lengths) + len(prompts) * rest
        if max(lengths) and len(openings) < len(prompts) and positions < fewest:
            best, fewest = lengths, positions
    return best


def tokens_alone(prompts: Sequence[Sequence[int]]) -> float:
    """How many tokens of a prompt are run in the mean where openings of groups are run once."""
    lengths = _alike(prompts)
    openings = {tuple(prompt[:length]) for prompt, length in zip(prompts, lengths, strict=True)}
    return (sum(map(len, prompts)) - sum(lengths) + sum(map(len, openings))) / len(prompts)


def _alike(prompts: Sequence[Sequence[int]]) -> list[int]:
    """The length of the opening of each prompt's group; a prompt that stands alone is all opening but for its last
    token, so that no other is padded to its length behind a short opening."""
    lengths = [0] * len(prompts)
    order = sorted(range(len(prompts)), key=lambda place: list(prompts[place]))
    start = 0
    while start < len(order):
        shared, end = len(prompts[order[start]]), start + 1
        while end < len(order):
            following = prompts[order[end]]
            common = min(common_opening(prompts[order[start]], following), shared, len(following) - 1)
            if common < max(SHARED_TOKENS, ALIKE_SHARE * max(len(following), len(prompts[order[start]]))):
                break
            shared, end = common, end + 1
        # Each keeps a token of its own.
        shared = min(shared, *(len(prompts[place]) - 1 for place in order[start:end]))
        for place in order[start:end]:
            lengths[place] = shared
        start = end
    return lengths
