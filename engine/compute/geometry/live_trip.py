"""How far the breaker turns a text while it still grows: cosine at one block, a stretch of tokens at a time. Both
models read each token once, behind what is in their caches. Knows nothing of chats or runs."""

from collections.abc import Generator, Sequence

import torch
from torch import Tensor

from engine.compute.model.activations import only_blocks, recorded
from engine.compute.model.grouped_queries import without_copies
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.mixed import Voice
from engine.compute.model.reading import Reading, read_inputs, read_prompts
from engine.compute.steps import inside
from engine.compute.training.reroute import BlockSpace, token_cosine


class LiveTrip:
    """A text that both models follow. The same cosines as engine.compute.geometry.trip gives of the whole text."""

    def __init__(self, model: LoadedModel, reading: Reading, block: int, space: BlockSpace) -> None:
        self.model, self.block, self.space = model, block, space
        self.batch, self.cache, self.attention, self.ahead = reading

    def read(self, ids: Sequence[int]) -> list[float]:
        """The cosine of each of these tokens, which follow those that were read before."""
        new = torch.tensor([list(ids)] * 2, device=self.model.device)
        columns = torch.cat([self.ahead, new], dim=1)
        self.attention = torch.cat([self.attention, torch.ones_like(new)], dim=1)
        with (
            torch.no_grad(),
            only_blocks(self.model, first=0, last=self.block),
            self.batch.active(),
            without_copies(self.model, columns),
            recorded(self.model, [self.block]) as outputs,
        ):
            self.cache = self.model.decoder(**read_inputs(columns, self.attention, self.cache)).past_key_values
        self.ahead = new[:, :0]
        return _cosines(outputs[self.block][:, -len(ids) :], self.space)


def live_trip(
    model: LoadedModel, prompt: Sequence[int], voice: Voice, block: int, space: BlockSpace
) -> Generator[None, None, LiveTrip]:
    """Read what stands before an answer; yields between parts of it."""
    # What lies above the block is not run, nor pushed: a third of the time where that is a third of the way up.
    if voice.push is not None and voice.push.block > block:
        voice = voice._replace(push=None)
    voices = [Voice(push=voice.push), voice]
    reading = yield from inside(
        lambda: only_blocks(model, first=0, last=block), read_prompts(model, [prompt, prompt], voices)
    )
    return LiveTrip(model, reading, block, space)


def _cosines(outputs: Tensor, space: BlockSpace) -> list[float]:
    """outputs: of the base model, then of the other, over the same tokens."""
    return token_cosine(outputs[1:], outputs[:1], space, "standardised")[0].tolist()
