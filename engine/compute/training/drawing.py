"""Which rows a step trains on: each side runs through its rows, kind by kind. Knows nothing of tokens."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch

from engine.compute.seeds import mix
from engine.compute.training.rows import Row, row_kinds
from engine.records.chosen_rows import RowKind
from engine.records.conversation import Label
from engine.records.spec import RunSpec


class Place(NamedTuple):
    """Where a row lies: on which side, and the how-manieth it is there."""

    label: Label
    number: int


def step_rows(spec: RunSpec, harmful: Sequence[Row], benign: Sequence[Row], step: int) -> list[Row]:
    """The rows of one optimizer step, harmful first. Each side runs through its rows in a new order every epoch; where
    the spec gives rows with tools a share, those of a step offer the same tools on both sides, as far as there are
    such."""
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


def never_drawn(spec: RunSpec, harmful: Sequence[Row], benign: Sequence[Row]) -> dict[Label, list[int]]:
    """By side the numbers of rows that no step draws, since the share of a batch that is theirs comes to no row."""
    sides: dict[Label, Sequence[Row]] = {"harmful": harmful, "benign": benign}
    turned = [list(pool.turns) if isinstance(pool, _InTurn) else [[pool]] for pool in _pools(spec, harmful, benign)]
    pools = [pool for turns in turned for turn in turns for pool in turn]
    found: dict[Label, list[int]] = {}
    for label, side in sides.items():
        reached = {number for pool in pools if pool.label == label for number in pool.reached}
        if missing := [number for number in range(len(side)) if number not in reached]:
            found[label] = missing
    return found


class _Pool(NamedTuple):
    """Rows of one side of which each step draws some. numbers: which of the side's rows they are."""

    label: Label
    numbers: Sequence[int]
    each_step: int
    seed: str

    @property
    def reached(self) -> Sequence[int]:
        return self.numbers if self.each_step else ()

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
    """Rows of one side that offer tools. groups: the places of those that offer the same ones, of tools that both sides
    offer: a group a step, in an order that both sides have; one of too few rows is filled up from `every`.
    alone: of an epoch's steps those in which both sides take the next of `others`, rows whose tools the other side does
    not offer (all its rows where it has none such)."""

    label: Label
    groups: Sequence[Sequence[int]]
    alone: int
    each_step: int
    seed: str
    every: _Pool
    others: _Pool

    @property
    def reached(self) -> Sequence[int]:
        return self.every.numbers

    def drawn(self, step: int) -> list[Place]:
        turns = len(self.groups) + self.alone
        epoch, place = divmod(step, turns)
        chosen = torch.randperm(turns, generator=_generator(self.seed, "groups", epoch)).tolist()[place]
        if chosen >= len(self.groups):
            return self.others.drawn(epoch * self.alone + chosen - len(self.groups))
        group = self.groups[chosen]
        if not group:
            return self.every.drawn(step)
        turn = torch.randperm(len(group), generator=_generator(self.seed, chosen)).tolist()
        count = min(self.each_step, len(group))
        places = [Place(self.label, group[turn[(epoch * count + number) % len(group)]]) for number in range(count)]
        if count == self.each_step:
            return places
        # Others first; where all of these are in it already, they come again.
        drawn = self.every.drawn(step)
        more = [one for one in drawn if one not in places] + [one for one in drawn if one in places]
        return [*places, *more[: self.each_step - count]]

    def coming_back(self, steps: int) -> list[Place]:
        times = Counter(place for step in range(steps) for place in self.drawn(step))
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
    shared = _shared_tools(spec, kinds)
    pools: list[_Pool | _PoolByTools | _InTurn] = []
    for label, side in kinds.items():
        words, pictured = _apart([kind.pictured for kind in side])
        if spec.data.picture_steps == "alternating" and words and pictured:
            pools.append(_InTurn([_side_pools(spec, label, places, side, shared) for places in (words, pictured)]))
        else:
            pools += _side_pools(spec, label, range(len(side)), side, shared)
    return pools


class _SharedTools(NamedTuple):
    """What both sides offer, and how many steps of an epoch go to rows whose tools one side alone offers."""

    names: Sequence[str]
    alone: int


def _shared_tools(spec: RunSpec, kinds: Mapping[Label, Sequence[RowKind]]) -> _SharedTools:
    offered = {label: Counter(kind.tools for kind in side if kind.tools) for label, side in kinds.items()}
    # Sorted: the order of rows must not decide which tools both sides take in a step.
    names = sorted(set.intersection(*(set(counts) for counts in offered.values())))
    steps = [
        math.ceil(sum(count for name, count in counts.items() if name not in names) / max(1, _tool_rows(spec, label)))
        for label, counts in offered.items()
    ]
    return _SharedTools(names, max(steps))


def _batch(spec: RunSpec, label: Label) -> int:
    return spec.optimizer.circuit_breaker_batch if label == "harmful" else spec.optimizer.retain_batch


def _tool_rows(spec: RunSpec, label: Label) -> int:
    """How many of a step's rows of a side offer tools, where there are others too."""
    return round(_batch(spec, label) * spec.data.tool_share)


def _side_pools(
    spec: RunSpec, label: Label, places: Sequence[int], side: Sequence[RowKind], shared: _SharedTools
) -> list[_Pool | _PoolByTools]:
    """Of these places of a side, which fill its batch; rows with tools have their share of it."""
    batch = _batch(spec, label)
    texts, with_tools = ([places[one] for one in kind] for kind in _apart([bool(side[one].tools) for one in places]))
    if not spec.data.tool_share or not with_tools:
        return [*_text_pools(spec, label, places, side, batch)]
    count = _tool_rows(spec, label) if texts else batch
    pools: list[_Pool | _PoolByTools] = []
    if count < batch:
        pools += _text_pools(spec, label, texts, side, batch - count)
    if count:
        groups: dict[str, list[int]] = {one: [] for one in shared.names}
        alone: list[int] = []
        for place in with_tools:
            groups.get(side[place].tools, alone).append(place)
        every = _Pool(label, with_tools, count, f"{spec.seed}:{label}:tools")
        others = every._replace(numbers=alone or with_tools)
        pools.append(
            _PoolByTools(label, list(groups.values()), shared.alone, count, f"{spec.seed}:tools", every, others)
        )
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
