"""Several processes that compute one thing: the first one says what, all do it, and one answer comes of it.

Each has the same weights, or a share of them, and the same adapters. What the first process computes by itself, as a
chat's tokens, the others know nothing of. `together` marks functions that all must run, since they change what all
hold or since all work at them; `divided` those whose rows are shared out, each process being alone with its own. In a
process that belongs to no team both run as if they were not marked. Knows nothing of queues, runs or jobs.
"""

import inspect
from collections.abc import Callable, Generator, Sequence
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

from engine.compute.processes import Arguments, Mode, Team

Function = TypeVar("Function", bound=Callable)
Thing = TypeVar("Thing")

_present: list[Team] = []


def join(team: Team) -> None:
    """This process belongs to the team from now on."""
    _present[:] = [team]


def leave() -> None:
    _present.clear()


def present() -> Team | None:
    """This process's team; None where it computes alone."""
    return _present[0] if _present else None


def broken() -> str:
    """Why the team cannot go on; '' where it can, or where there is none."""
    team = present()
    return team.broken if team else ""


def team_size() -> int:
    """Among how many processes the rows of a `divided` function are shared out."""
    team = present()
    return team.size if team and not team.mode and not team.sharded else 1


def shares() -> int:
    """Into how many shares the weights are divided."""
    team = present()
    return team.size if team and team.sharded else 1


def team_facts() -> dict[str, int]:
    """How many processes work together, and how the weights are shared, as part of what is known of a machine."""
    team = present()
    return {"processes": team.size if team else 1, "shares": shares()}


def is_sharded() -> bool:
    """Whether each process holds a share of the weights: all then run each forward pass, or none can."""
    return shares() > 1


def working() -> tuple[int, int]:
    """Inside a function that all run together, which one this process is, and of how many; else (0, 1)."""
    team = present()
    return (team.rank, team.size) if team and team.mode == "together" else (0, 1)


def keep(thing: Any) -> None:
    """Inside a function that all run together: all make this thing, and it may be an argument of others."""
    team = present()
    if team and team.mode == "together":
        team.keep(thing)


def summed(values: Tensor) -> Tensor:
    """The sum over the processes that work together, in place; one message."""
    team = present()
    if team and working()[1] > 1:
        team.traffic.tensors += 1
        team.traffic.tensor_bytes += values.nbytes
        distributed.all_reduce(values, group=team.group)
    return values


def sent(values: Tensor, *, source: int) -> Tensor:
    """What process `source` has, in all that work together, in place; one message."""
    team = present()
    if team and working()[1] > 1:
        team.traffic.tensors += 1
        team.traffic.tensor_bytes += values.nbytes
        distributed.broadcast(values, source, group=team.group)
    return values


def least(value: float) -> float:
    """Where weights are sharded, the least of what the processes have: all must then decide alike. Elsewhere the value
    itself."""
    return least_of_all(value) if is_sharded() else value


def least_of_all(value: float) -> float:
    """Inside a function that all run together, the least of what they have; each must ask as often as the others."""
    team = present()
    if team is None or working()[1] == 1:
        return value
    found = torch.tensor([value], dtype=torch.double)
    distributed.all_reduce(found, distributed.ReduceOp.MIN, group=team.group)
    return float(found)


def together(function: Function) -> Function:
    """A function, or generator function, that all processes of a team run with the same arguments. Its result is the
    first one's. Arguments that are functions stay with the first."""

    return _marked(function, "together", _same, lambda results: results[0], lambda team, _: not team.mode)


def divided(*rows: str) -> Callable[[Function], Function]:
    """Of a function, or generator function, that gives one result a row: the arguments named hold the rows, in equal
    number, and are shared out evenly, in order. Where weights are sharded, all processes run it whole."""

    def each(team: Team, arguments: dict[str, Any]) -> Sequence[Arguments]:
        if team.sharded:
            return _same(team, arguments)
        count = len(arguments[rows[0]])
        bounds = [-(-count * rank // team.size) for rank in range(team.size + 1)]
        places = [slice(*bounds[rank : rank + 2]) for rank in range(team.size)]
        first, *others = (arguments | {name: arguments[name][place] for name in rows} for place in places)
        return [first, *(_sendable(share) if share[rows[0]] else None for share in others)]

    def wanted(team: Team, arguments: dict[str, Any]) -> bool:
        return not team.mode and (team.sharded or len(arguments[rows[0]]) > 1)

    def merged(results: list) -> Any:
        team = present()
        return results[0] if team is None or team.sharded else _joined(results)

    return lambda function: _marked(function, "divided", each, merged, wanted)


def where_sharded(function: Function) -> Function:
    """A function, or generator function, that needs all processes where each holds a share of the weights, and the
    first one alone elsewhere."""

    return _marked(
        function, "together", _same, lambda results: results[0], lambda team, _: team.sharded and not team.mode
    )


def _marked(
    function: Function,
    mode: Mode,
    each: Callable[[Team, dict[str, Any]], Sequence[Arguments]],
    merged: Callable[[list], Any],
    wanted: Callable[[Team, dict[str, Any]], bool],
) -> Function:
    signature = inspect.signature(function)

    def called(args: tuple, keywords: dict[str, Any]) -> tuple[Team | None, dict[str, Any]]:
        team = present()
        arguments = dict(signature.bind(*args, **keywords).arguments)
        # A team that is broken computes no more, but what it holds may still be given back.
        return (team if team and not team.broken and wanted(team, arguments) else None), arguments

    # What checks types in tests wraps functions too.
    if inspect.isgeneratorfunction(inspect.unwrap(function)):

        @wraps(function)
        def steps(*args: Any, **keywords: Any) -> Generator:
            team, arguments = called(args, keywords)
            if team is None:
                return (yield from function(**arguments))
            how: Mode = "together" if team.sharded else mode
            return merged((yield from team.advance(how, function, each(team, arguments))))

        return steps  # type: ignore[return-value]

    @wraps(function)
    def call(*args: Any, **keywords: Any) -> Any:
        team, arguments = called(args, keywords)
        if team is None:
            return function(**arguments)
        how: Mode = "together" if team.sharded else mode
        return merged(team.call(how, function, each(team, arguments)))

    return call  # type: ignore[return-value]


def _same(team: Team, arguments: dict[str, Any]) -> Sequence[Arguments]:
    return [arguments] + [_sendable(arguments)] * (team.size - 1)


def _sendable(arguments: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if not inspect.isroutine(value)}


def _joined(results: Sequence) -> Any:
    """Lists end to end; of tuples with names, each part so."""
    known = [result for result in results if result is not None]
    if isinstance(known[0], tuple):
        return type(known[0])(*map(_joined, zip(*known, strict=True)))
    return [one for result in known for one in result]


@together
def held(make: Callable[[], Thing]) -> Thing:
    """What all processes make, each for itself, and hold under one number. make: a partial of a class."""
    thing = make()
    keep(thing)
    return thing
