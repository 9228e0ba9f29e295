"""Where the breaker trips first along answers of several columns, at one block each. Knows nothing of chats or sets."""

from collections.abc import Generator, Mapping, Sequence
from typing import NamedTuple

from engine.compute.geometry.trip import trip
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.mixed import Voice
from engine.compute.model.text import Tokens
from engine.compute.training.reroute import BlockSpace
from engine.jobs.known_answers import run_spaces
from engine.records.blocks import parse_blocks
from engine.records.chats.asked import Column
from engine.records.chats.sets import TRIP_THRESHOLD
from engine.records.errors import ModelError
from engine.records.events import Event
from engine.records.runs import open_run
from engine.records.settings import Settings


class SpaceOfBlock(NamedTuple):
    """The block at which a column is measured, and the space in which."""

    block: int
    space: BlockSpace


def spaces_of_columns(
    model: LoadedModel, columns: Sequence[Column], settings: Settings
) -> Generator[Event | None, None, dict[int, SpaceOfBlock]]:
    """Of each circuit-broken column, by its place, the first target block of its run."""
    found = {}
    for place, column in enumerate(columns):
        if column.checkpoint.is_base:
            continue
        run = open_run(settings.runs, column.checkpoint.run_id)
        block = parse_blocks(run.spec().blocks.targets, len(model.blocks))[0]
        found[place] = SpaceOfBlock(block, (yield from run_spaces(model, run, settings))[block])
    return found


def first_trips(
    model: LoadedModel,
    text: Tokens,
    answers: Sequence[Sequence[int]],
    voices: Sequence[Voice],
    spaces: Mapping[int, SpaceOfBlock],
) -> Generator[None, None, tuple[int | None, ...]]:
    """For each column the token, from 1, of the words that begin its answer and of its own at which its cosine falls
    below TRIP_THRESHOLD first, 0: at none; None for columns without a space, and where the adapter has left the memory
    meanwhile. Empty without any space."""
    found: list[int | None] = [None] * len(answers)
    for place, (block, space) in spaces.items():
        said = [*text.begun, *answers[place]]
        try:
            cosines = yield from trip(model, [*text.ids, *said], voices[place], {block: space})
        except ModelError:
            # The adapter was in training and has left the memory. The answer stands.
            continue
        below = (cosines[0, len(text.ids) :] < TRIP_THRESHOLD).tolist()
        found[place] = below.index(True) + 1 if True in below else 0
    return tuple(found) if spaces else ()
