"""Pairs as rows of tokens, which rows a step trains on, and how they are cut into micro-batches."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, overload

import torch

from engine.compute.model.loaded import LoadedModel
from engine.compute.model.text import published_tokens, text_ids, tokens_of
from engine.compute.seeds import mix
from engine.compute.training.pairs import Pair
from engine.records.conversation import Conversation, Label, say
from engine.records.prompts import Prompt
from engine.records.spec import RunSpec
from engine.records.spec_parts import DataSpec

# Of encoded rows that are kept in memory: more than most sets have.
KEPT_ROWS = 16_384


@dataclass(frozen=True)
class Row:
    """A pair as tokens: `ids` is prompt then answer, the answer begins at `response_start`. pictures: the keys of the
    pictures that its placeholders stand for."""

    prompt_id: str
    label: Label
    borderline: bool
    ids: tuple[int, ...]
    response_start: int
    pictures: tuple[str, ...] = ()


def encode(model: LoadedModel, pair: Pair, data: DataSpec) -> Row:
    """Tokens of a pair, written and cut as the spec says.

    Under the model's chat template a request that would leave no room for its answer is cut to half of max_tokens.
    """
    prompt, harmful = pair.prompt, pair.prompt.label == "harmful"
    conversation, answer = prompt.conversation, pair.answer
    if (harmful or data.empty_prompt_sides == "both") and _hides_request(prompt, data):
        conversation, answer = _without_requests(conversation, answer, first=not harmful)
    if data.rows_as != "chat":
        ids, start = published_tokens(
            model, conversation, answer, written_as=data.rows_as, apart=harmful, limit=data.max_tokens
        )
        return Row(prompt.id, prompt.label, prompt.borderline, ids, start)
    asked, _, pictures = tokens_of(model, conversation)
    if len(asked) >= data.max_tokens:
        asked = asked[: data.max_tokens // 2]
    ids = (*asked, *text_ids(model, answer))[: data.max_tokens]
    return Row(prompt.id, prompt.label, prompt.borderline, ids, len(asked), pictures)


class EncodedWhenDrawn(Sequence[Row]):
    """Rows of pairs, encoded when they are asked for: a set may hold a hundred times the rows that its run draws.

    borderline, plain: the places of both kinds, known without a token.
    """

    def __init__(self, model: LoadedModel, pairs: Sequence[Pair], data: DataSpec) -> None:
        self._made_of = model, pairs, data
        self._encode = lru_cache(maxsize=KEPT_ROWS)(lambda place: encode(model, pairs[place], data))
        self._length = len(pairs)
        self.borderline, self.plain = places_by_kind([pair.prompt.borderline for pair in pairs])

    def __reduce__(self) -> tuple:
        """Another process encodes for itself."""
        return EncodedWhenDrawn, self._made_of

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, place: int) -> Row: ...
    @overload
    def __getitem__(self, place: slice) -> list[Row]: ...
    def __getitem__(self, place: int | slice) -> Row | list[Row]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(self._length))]
        if not -self._length <= place < self._length:
            raise IndexError(place)
        return self._encode(place % self._length)


def places_by_kind(borderline: Sequence[bool]) -> tuple[list[int], list[int]]:
    """The places of borderline rows, and those of the others."""
    kinds: tuple[list[int], list[int]] = ([], [])
    for place, is_borderline in enumerate(borderline):
        kinds[0 if is_borderline else 1].append(place)
    return kinds


def _hides_request(prompt: Prompt, data: DataSpec) -> bool:
    copy = f"{prompt.copy_number}:" if prompt.copy_number else ""
    draw = int.from_bytes(hashlib.sha256(f"hide:{copy}{prompt.conversation.asked}".encode()).digest()[:8]) / 2**64
    return draw < data.empty_prompt_share


def _without_requests(conversation: Conversation, answer: str, *, first: bool) -> tuple[Conversation, str]:
    """The user's messages say and show nothing. first: of a dialogue, its first answer alone is left, as published."""
    if first:
        said = [message.text for message in conversation.messages if message.role == "assistant"]
        return Conversation.asking(""), (said or [answer])[0]
    messages = (say("user", "") if message.role == "user" else message for message in conversation.messages)
    return conversation.model_copy(update={"messages": tuple(messages)}), answer


class Place(NamedTuple):
    """Where a row lies: on which side, and the how-manieth it is there."""

    label: Label
    number: int


def step_rows(spec: RunSpec, harmful: Sequence[Row], benign: Sequence[Row], step: int) -> list[Row]:
    """The rows of one optimizer step, harmful first. Each side runs through its rows in a new order every epoch."""
    sides = {"harmful": harmful, "benign": benign}
    return [sides[place.label][place.number] for pool in _pools(spec, harmful, benign) for place in pool.drawn(step)]


def places_that_come_back(spec: RunSpec, harmful: Sequence[Row], benign: Sequence[Row]) -> Iterator[Place]:
    """Where the rows lie that the run's steps draw more than once, in the order in which they are drawn first."""
    pools = _pools(spec, harmful, benign)
    steps = spec.optimizer.steps
    known = {place for pool in pools for place in pool.coming_back(steps)}
    epoch = 1 + max((len(pool.numbers) // max(1, pool.each_step) for pool in pools), default=0)
    for step in range(min(steps, epoch)):
        for pool in pools:
            for place in pool.drawn(step):
                if place in known:
                    known.remove(place)
                    yield place


class _Pool(NamedTuple):
    """Rows of one side of which each step draws some. numbers: which of the side's rows they are."""

    label: Label
    numbers: Sequence[int]
    each_step: int
    seed: str

    def drawn(self, step: int) -> list[Place]:
        places = []
        orders: dict[int, list[int]] = {}
        for number in range(step * self.each_step, (step + 1) * self.each_step):
            epoch, place = divmod(number, len(self.numbers))
            if epoch not in orders:
                orders[epoch] = self._order(epoch)
            places.append(Place(self.label, self.numbers[orders[epoch][place]]))
        return places

    def coming_back(self, steps: int) -> list[Place]:
        """What is drawn in the second epoch was drawn in the first one."""
        second = min(steps * self.each_step, 2 * len(self.numbers)) - len(self.numbers)
        return [Place(self.label, self.numbers[place]) for place in self._order(1)[: max(0, second)]]

    def _order(self, epoch: int) -> list[int]:
        generator = torch.Generator().manual_seed(mix(self.seed, epoch))
        return torch.randperm(len(self.numbers), generator=generator).tolist()


def _pools(spec: RunSpec, harmful: Sequence[Row], benign: Sequence[Row]) -> list[_Pool]:
    optimizer, seed = spec.optimizer, spec.seed
    pools = [_Pool("harmful", range(len(harmful)), optimizer.circuit_breaker_batch, f"{seed}:harmful")]
    if isinstance(benign, EncodedWhenDrawn):
        borderline, plain = benign.borderline, benign.plain
    else:
        borderline, plain = places_by_kind([row.borderline for row in benign])
    if not spec.data.borderline_share or not borderline or not plain:
        return [*pools, _Pool("benign", range(len(benign)), optimizer.retain_batch, f"{seed}:benign")]
    count = round(optimizer.retain_batch * spec.data.borderline_share)
    return [
        *pools,
        _Pool("benign", borderline, count, f"{seed}:borderline"),
        _Pool("benign", plain, optimizer.retain_batch - count, f"{seed}:plain"),
    ]


def micro_batches(rows: Sequence[Row], budget: int) -> list[list[Row]]:
    """Rows of similar length together, each group within `budget` tokens, padding included; a longer row goes alone."""
    groups: list[list[Row]] = []
    # Longest first: the first micro-batch then needs the most memory, so that a step fails early or not at all.
    for row in sorted(rows, key=lambda row: len(row.ids), reverse=True):
        if groups and (len(groups[-1]) + 1) * len(groups[-1][0].ids) <= budget:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups
