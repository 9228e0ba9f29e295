"""The cosines of a chat's answers while they come. Knows of a chat only what is to be written into it."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import NamedTuple, TypeVar

from engine.compute.geometry.live_trip import LiveTrip, live_trip
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.mixed import Voice
from engine.compute.training.reroute import BlockSpace
from engine.records.chats.replies import Turning
from engine.records.errors import ModelError

# So many tokens are read in one go: fewer would cost nearly as much as an answer's own.
STRETCH = 16
DIGITS = 3
Given = TypeVar("Given")
Result = TypeVar("Result")


class Followed(NamedTuple):
    """One column's text. prompt: what stands before the answer.  begun: the tokens that begin it.  voice: the one that
    the base model is compared with."""

    column: int
    prompt: Sequence[int]
    begun: Sequence[int]
    voice: Voice
    block: int
    space: BlockSpace


class LiveTrips:
    """Follows texts as they grow, `said` by column; what is measured is given to `write`."""

    def __init__(
        self,
        model: LoadedModel,
        texts: Sequence[Followed],
        said: Sequence[Sequence[int]],
        write: Callable[[Turning], object],
    ) -> None:
        self.model, self.texts, self.said, self.write = model, list(texts), said, write
        self.trips: dict[int, LiveTrip] = {}
        self.read = dict.fromkeys((text.column for text in texts), 0)

    def measure(self) -> Generator[None, None, None]:
        """Measure every text that has grown by a stretch since."""
        for text in list(self.texts):
            whole = [*text.begun, *self.said[text.column]]
            new = whole[self.read[text.column] :]
            if len(new) < STRETCH:
                continue
            try:
                if text.column not in self.trips:
                    self.trips[text.column] = yield from live_trip(
                        self.model, text.prompt, text.voice, text.block, text.space
                    )
                cosines = self.trips[text.column].read(new)
            except ModelError:
                # Its adapter was in training and has left the memory: the answer goes on with the weights it has.
                self.texts.remove(text)
                continue
            self.read[text.column] = len(whole)
            rounded = tuple(round(cosine, DIGITS) for cosine in cosines)
            self.write(Turning(column=text.column, block=text.block, prefill=len(text.begun), cosines=rounded))
            yield None


def beside(
    steps: Generator[Given | None, None, Result], measure: Callable[[], Generator[None, None, None]]
) -> Generator[Given | None, None, Result]:
    """Advance `steps`, and behind each of them what there is to measure, of which None is yielded."""
    with closing(steps):
        while True:
            try:
                given = next(steps)
            except StopIteration as end:
                return end.value
            yield given
            yield from measure()
