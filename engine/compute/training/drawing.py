"""Which rows a step trains on: each side runs through its rows, kind by kind. Knows nothing of tokens."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

from engine.compute.seeds import mix
from engine.compute.training.rows import Row, RowKind, row_kinds
from engine.records.conversation import Label
from engine.records.spec import RunSpec


class Place(NamedTuple):
    """Where a row lies: on which side, and the how-manieth it is there."""

    label: Label
    number: int


def step_rows(spec: RunSpec, harmful: Sequence[Row], benign: Sequence[Row], step: int) -> list[Row]:
    """The rows of one optimizer step, harmful first. Each side runs through its rows in a new order every epoch; where
    the spec gives rows with tools a share, those of a step offer the same tools, as far as there are such."""
    sides = {"harmful": harmful, "benign": benign}
    return [sides[place.label][place.number] for pool in _pools(spec, harmful, benign) for place in pool.drawn(step)]


def places_that_come_back(spec: RunSpec, harmful: Sequence[Row], benign: Sequence[Row]) -> Iterator[Place]:
    """Where the rows lie that the run's steps draw more than once, in the order in which they are drawn first."""
    pools = _pools(spec, harmful, benign)
    steps = spec.optimizer.steps
    known = {place for pool in pools for place in pool.coming_back(steps)}
    for step in range(steps):
        if not known:
            return
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


class _PoolByTools(NamedTuple):
    """Rows of one side that offer tools. groups: the places of those that offer the same ones, a group a step in an
    order that both sides have; where a side has none in a group, it takes the next of all its rows."""

    label: Label
    groups: Sequence[Sequence[int]]
    each_step: int
    seed: str
    every: _Pool

    def drawn(self, step: int) -> list[Place]:
        epoch, place = divmod(step, len(self.groups))
        order = torch.randperm(len(self.groups), generator=_generator(self.seed, "groups", epoch)).tolist()
        group = self.groups[order[place]]
        if not group:
            return self.every.drawn(step)
        turn = torch.randperm(len(group), generator=_generator(self.seed, order[place])).tolist()
        count = min(self.each_step, len(group))
        return [Place(self.label, group[turn[(epoch * count + number) % len(group)]]) for number in range(count)]

    def coming_back(self, steps: int) -> list[Place]:
        # By then each group was taken often enough to go round twice.
        enough = 2 * len(self.groups) * max(map(len, self.groups))
        times = Counter(place for step in range(min(steps, enough)) for place in self.drawn(step))
        return [place for place, count in times.items() if count > 1]


class _InTurn(NamedTuple):
    """Pools of which one step draws those of the first turn, the next step those of the second, and so on."""

    turns: Sequence[Sequence["_Pool | _PoolByTools"]]

    def drawn(self, step: int) -> list[Place]:
        own, turn = divmod(step, len(self.turns))
        return [place for pool in self.turns[turn] for place in pool.drawn(own)]

    def coming_back(self, steps: int) -> list[Place]:
        count = len(self.turns)
        each = [(steps - turn + count - 1) // count for turn in range(count)]
        return [
            place
            for own, pools in zip(each, self.turns, strict=True)
            for pool in pools
            for place in pool.coming_back(own)
        ]


def _generator(*seed: int | str) -> torch.Generator:
    return torch.Generator().manual_seed(mix(*seed))


def _pools(spec: RunSpec, harmful: Sequence[Row], benign: Sequence[Row]) -> list[_Pool | _PoolByTools | _InTurn]:
    """Of both sides. Where steps of text and of pictures alternate, a side that has both takes turns, text first; one
    that has a single kind draws it in every step."""
    kinds: dict[Label, Sequence[RowKind]] = {"harmful": row_kinds(harmful), "benign": row_kinds(benign)}
    # Sorted: the order of rows must not decide which tools both sides take in a step.
    tools = sorted({kind.tools for side in kinds.values() for kind in side if kind.tools})
    pools: list[_Pool | _PoolByTools | _InTurn] = []
    for label, side in kinds.items():
        words, pictured = _apart([kind.pictured for kind in side])
        if spec.data.picture_steps == "alternating" and words and pictured:
            pools.append(_InTurn([_side_pools(spec, label, places, side, tools) for places in (words, pictured)]))
        else:
            pools += _side_pools(spec, label, range(len(side)), side, tools)
    return pools


def _side_pools(
    spec: RunSpec, label: Label, places: Sequence[int], side: Sequence[RowKind], tools: Sequence[str]
) -> list[_Pool | _PoolByTools]:
    """Of these places of a side, which fill its batch; rows with tools have their share of it."""
    batch = spec.optimizer.circuit_breaker_batch if label == "harmful" else spec.optimizer.retain_batch
    texts, with_tools = ([places[one] for one in kind] for kind in _apart([bool(side[one].tools) for one in places]))
    if not spec.data.tool_share or not with_tools:
        return [*_text_pools(spec, label, places, side, batch)]
    count = round(batch * spec.data.tool_share) if texts else batch
    pools: list[_Pool | _PoolByTools] = []
    if count < batch:
        pools += _text_pools(spec, label, texts, side, batch - count)
    if count:
        groups: dict[str, list[int]] = {one: [] for one in tools}
        for place in with_tools:
            groups[side[place].tools].append(place)
        every = _Pool(label, with_tools, count, f"{spec.seed}:{label}:tools")
        pools.append(_PoolByTools(label, list(groups.values()), count, f"{spec.seed}:tools", every))
    return pools


def _text_pools(spec: RunSpec, label: Label, places: Sequence[int], side: Sequence[RowKind], count: int) -> list[_Pool]:
    """Harmful rows as they come; benign ones with their share of borderline rows."""
    if label == "benign" and spec.data.borderline_share:
        plain, borderline = _apart([side[place].borderline for place in places])
        if plain and borderline:
            number = round(count * spec.data.borderline_share)
            return [
                _Pool(label, [places[place] for place in borderline], number, f"{spec.seed}:borderline"),
                _Pool(label, [places[place] for place in plain], count - number, f"{spec.seed}:plain"),
            ]
    return [_Pool(label, places, count, f"{spec.seed}:{label}")]


def _apart(marked: Sequence[bool]) -> tuple[list[int], list[int]]:
    """The places that are not marked, and those that are."""
    places: tuple[list[int], list[int]] = ([], [])
    for place, is_marked in enumerate(marked):
        places[is_marked].append(place)
    return places
