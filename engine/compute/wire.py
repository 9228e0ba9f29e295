"""What one process of a team says to another: functions by name, values as bytes. Knows nothing of ranks.

Bytes pass between processes of one user on one machine, over a connection that asks for a key; they are never files.
Models and other large things are not sent: each process keeps its own under a number, and the number is sent.
"""

import importlib
import io
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import torch


class Kept:
    """What all processes hold under the same numbers. The first process holds its own only as long as it uses them;
    `freed` then tells which the others may forget."""

    def __init__(self, *, first: bool) -> None:
        self.first = first
        self.freed: list[int] = []
        self._things: dict[int, Any] = {}
        self._numbers: dict[int, int] = {}

    def keep(self, thing: Any, number: int) -> None:
        """Known under this number from now on."""
        self._numbers[id(thing)] = number
        if self.first:
            self._things[number] = weakref.ref(thing)
            weakref.finalize(thing, self._free, id(thing), number).atexit = False
        else:
            self._things[number] = thing

    def forget(self, numbers: list[int]) -> None:
        for number in numbers:
            thing = self._things.pop(number, None)
            self._numbers.pop(id(thing), None)

    def number(self, thing: Any) -> int | None:
        return self._numbers.get(id(thing))

    def thing(self, number: int) -> Any:
        found = self._things[number]
        return found() if self.first else found

    def _free(self, identity: int, number: int) -> None:
        self._numbers.pop(identity, None)
        self._things.pop(number, None)
        self.freed.append(number)


def packed(message: Any, kept: Kept) -> bytes:
    """The message as bytes, what is kept as its number. Raises TypeError for what cannot be sent."""
    stream = io.BytesIO()
    try:
        _Packer(stream, kept).dump(message)
    except (pickle.PicklingError, AttributeError) as error:
        raise TypeError(f"this cannot be told to another process: {error}") from error
    return stream.getvalue()


def unpacked(content: bytes, kept: Kept, device: torch.device | None = None) -> Any:
    """device: where tensors go that were on a GPU of their own process."""
    return _Unpacker(io.BytesIO(content), kept, device).load()


def name_of(function: Callable) -> str:
    return f"{function.__module__}:{function.__qualname__}"


def named(name: str) -> Callable:
    module, _, path = name.partition(":")
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found


class _Packer(pickle.Pickler):
    def __init__(self, stream: io.BytesIO, kept: Kept) -> None:
        super().__init__(stream, protocol=pickle.HIGHEST_PROTOCOL)
        self.kept = kept

    def persistent_id(self, thing: Any) -> tuple | None:
        if isinstance(thing, torch.Tensor) and thing.device.type != "cpu":
            # Its device's number means nothing elsewhere.
            return "tensor", packed(thing.detach().cpu(), self.kept)
        number = self.kept.number(thing)
        return None if number is None else ("kept", number)

    def reducer_override(self, thing: Any) -> Any:
        is_plain = type(thing) is torch.Tensor and thing.layout == torch.strided
        if is_plain and thing.untyped_storage().nbytes() > thing.nbytes:
            # It would bring along all that it is a view of, and each of a thousand views all of it again.
            return thing.detach().clone().__reduce_ex__(pickle.HIGHEST_PROTOCOL)
        return NotImplemented


class _Unpacker(pickle.Unpickler):  # noqa: S301  (from a process of this program alone)
    def __init__(self, stream: io.BytesIO, kept: Kept, device: torch.device | None) -> None:
        super().__init__(stream)
        self.kept, self.device = kept, device

    def persistent_load(self, pid: Any) -> Any:
        kind, content = pid
        if kind == "tensor":
            return unpacked(content, self.kept).to(self.device)
        return self.kept.thing(content)
