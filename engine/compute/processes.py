"""The processes of a team talk: the first one says which function to run and with what, all run it, and answer.

Knows nothing of what the functions compute; engine.compute.team marks which ones they are.
"""

import gc
import logging
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, Literal, NamedTuple

import torch
from torch import distributed

from engine.compute.model.memory import ran_out_of_memory
from engine.compute.wire import Kept, name_of, named, packed, unpacked
from engine.records.errors import ComputeError, TeamError, WorkbenchError, first_line

log = logging.getLogger("workbench.worker")

# All work at one thing, or each at rows of its own.
Mode = Literal["together", "divided"]
Arguments = dict[str, Any] | None
# Without an answer for so long a process is taken for one that hangs.
PATIENCE_SECONDS = 300.0
# After a failure of its own kind the first process asks the others no longer than this what became of them.
SHORT_SECONDS = 10.0


class Said(NamedTuple):
    """What a process answers: what its step gave. short: it failed for want of memory."""

    kind: Literal["goes on", "ended", "failed"]
    result: Any = None
    short: bool = False

    @property
    def failed(self) -> bool:
        return self.kind == "failed"


@dataclass
class Traffic:
    """What a process has said and, with the others, summed or copied so far. words: messages of what to do and what
    came of it; tensors: of sums and copies."""

    words: int = 0
    word_bytes: int = 0
    tensors: int = 0
    tensor_bytes: int = 0


@dataclass
class Team:
    """One process's view of its team. connections: of the first process one to each other, by rank from 1; of another
    one, to the first.  group: for sums and copies of tensors, with the same patience.  sharded: each holds a share of
    the weights.  on_node: it is a cluster's job, with one run to itself.  mode: whether a marked function is being run.
    """

    rank: int
    size: int
    connections: list[Connection]
    device: torch.device | None = None
    group: distributed.ProcessGroup | None = None
    sharded: bool = False
    on_node: bool = False
    patience: float = PATIENCE_SECONDS
    mode: Mode | Literal[""] = ""
    broken: str = ""
    calls: int = 0
    traffic: Traffic = field(default_factory=Traffic)
    kept: Kept = field(init=False)
    _count: int = 0
    _steps: dict[int, Generator] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.kept = Kept(first=self.rank == 0)

    def keep(self, thing: Any) -> None:
        """All processes make this thing now, and know it under one number."""
        self._count += 1
        self.kept.keep(thing, self._count)

    @contextmanager
    def within(self, mode: Mode) -> Iterator[None]:
        self.mode = mode
        try:
            yield
        finally:
            self.mode = ""

    def call(self, mode: Mode, function: Callable, each: Sequence[Arguments]) -> list:
        """Run a function in all processes, with arguments for each (None: it has nothing to do, the first process
        always has); what each returned, by rank."""
        self._tell([("call", mode, name_of(function), arguments) for arguments in each])
        with self._answering(mode) as answers, self.within(mode):
            result = function(**(each[0] or {}))
        return [result, *(said.result for said in answers)]

    def advance(self, mode: Mode, function: Callable, each: Sequence[Arguments]) -> Generator[Any, None, list]:
        """Advance a generator in all processes, a step of each at a time; yields what this process's own yields, and
        its last yield again while others go on. Returns what each returned, by rank."""
        self.calls += 1
        key = self.calls
        self._tell([("open", key, name_of(function), arguments) for arguments in each])
        own: Generator | None = function(**(each[0] or {}))
        with self._answering(mode):
            pass
        results: list[Any] = [None] * self.size
        going = {rank for rank in range(1, self.size) if each[rank] is not None}
        given: Any = None
        try:
            while own is not None or going:
                self._tell([("next", key, mode)] * self.size)
                with self._answering(mode) as answers, self.within(mode):
                    if own is not None:
                        try:
                            given = next(own)
                        except StopIteration as end:
                            results[0], own = end.value, None
                for rank, said in enumerate(answers, 1):
                    if said.kind == "ended" and rank in going:
                        results[rank] = said.result
                        going.remove(rank)
                if own is not None or going:
                    yield given
        finally:
            if own is not None or going:
                self._close(key, mode, own)
        return results

    def _close(self, key: int, mode: Mode, own: Generator | None) -> None:
        told = not self.broken
        with suppress(TeamError):
            self._tell([("close", key, mode)] * self.size)
        if own is not None:
            with self.within(mode):
                own.close()
        with suppress(TeamError):
            if told:
                self._heard(self.patience)

    def _tell(self, messages: Sequence[tuple]) -> None:
        if self.broken:
            raise TeamError(self.broken)
        freed, self.kept.freed = self.kept.freed, []
        for rank, connection in enumerate(self.connections, 1):
            content = packed((self._count, freed, messages[rank]), self.kept)
            self.traffic.words += 1
            self.traffic.word_bytes += len(content)
            try:
                connection.send_bytes(content)
            except OSError:
                self._break(f"Process {rank + 1} of {self.size} has ended.")

    @contextmanager
    def _answering(self, mode: Mode) -> Iterator[list[Said]]:
        """The others' answers are in the list on leaving. What they work at together fails in all, or the team is
        broken: what they hold is not the same any more. Of rows that are shared out some may fail."""
        answers: list[Said] = []
        try:
            yield answers
        except TeamError:
            raise
        except Exception as error:
            seconds = self.patience if isinstance(error, WorkbenchError) else SHORT_SECONDS
            # Where another one is gone this one's failure, in a message to it, is but what follows.
            others = self._heard(seconds)
            if mode == "together" and not all(said.failed for said in others):
                self._break(f"Process 1 of {self.size} failed: {first_line(error)}")
            raise
        answers += self._heard(self.patience)
        for rank, said in enumerate(answers, 1):
            if said.failed and mode == "together":
                self._break(f"Process {rank + 1} of {self.size} failed: {said.result}")
            elif said.failed and said.short:
                raise torch.OutOfMemoryError(str(said.result))
            elif said.failed:
                raise ComputeError(str(said.result))

    def _heard(self, seconds: float) -> list[Said]:
        answers = []
        for rank, connection in enumerate(self.connections, 1):
            try:
                if not connection.poll(seconds):
                    self._break(f"Process {rank + 1} of {self.size} has not answered for {seconds:g} s.")
                answers.append(Said(*unpacked(connection.recv_bytes(), self.kept, self.device)))
            except (EOFError, OSError):
                self._break(f"Process {rank + 1} of {self.size} has ended.")
        return answers

    def _break(self, reason: str) -> None:
        if self.on_node:
            self.broken = f"{reason} The last checkpoint is kept: resume the run, on its cluster or here."
            raise TeamError(self.broken)
        # What was asked of this one the next one does not know.
        asked = f"--processes {self.size}{' --sharded' * self.sharded}"
        how = f" (`python -m engine worker {asked}`)" if self.sharded or self.device is None else ""
        self.broken = f"{reason} The last checkpoint is kept: restart the worker{how}, then resume the run."
        raise TeamError(self.broken)

    def follow(self) -> None:
        """Of another process than the first: do what is told until the first one is gone."""
        (leader,) = self.connections
        while True:
            try:
                count, freed, message = unpacked(leader.recv_bytes(), self.kept, self.device)
            except (EOFError, OSError):
                return
            self._count = count
            self.kept.forget(freed)
            if freed and torch.cuda.is_available():
                # A model that sees refers to itself in a circle.
                gc.collect()
                torch.cuda.empty_cache()
            said = self._done(message)
            del message
            with suppress(OSError):
                leader.send_bytes(packed(tuple(said), self.kept))

    def _done(self, message: tuple) -> Said:
        try:
            match message:
                case ("call", mode, name, arguments):
                    with self.within(mode):
                        result = None if arguments is None else named(name)(**arguments)
                        return Said("ended", result if mode == "divided" else None)
                case ("open", key, name, arguments):
                    if arguments is not None:
                        self._steps[key] = named(name)(**arguments)
                case ("next", key, mode) if key in self._steps:
                    return self._advanced(key, mode)
                case ("close", key, mode) if key in self._steps:
                    with self.within(mode):
                        self._steps.pop(key).close()
            return Said("goes on")
        except WorkbenchError as error:
            return Said("failed", str(error))
        except Exception as error:
            log.error("%s", traceback.format_exc())
            short = ran_out_of_memory(error)
            return Said("failed", f"{type(error).__name__}: {first_line(error)}", short)

    def _advanced(self, key: int, mode: Mode) -> Said:
        steps = self._steps.pop(key)
        try:
            with self.within(mode):
                next(steps)
        except StopIteration as end:
            return Said("ended", end.value if mode == "divided" else None)
        self._steps[key] = steps
        return Said("goes on")
