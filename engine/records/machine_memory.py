"""The memory of this machine as far as this process may use it: what bounds a container or a cluster's job (Linux
control groups of both versions) counts too, of which the system's own figures know nothing."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

GROUPS, OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


class _Bound(NamedTuple):
    """used: without what of files can be dropped at any time."""

    most: int
    used: int


class _Names(NamedTuple):
    """Of files in a group's folder, and of the line among its statistics that counts files which can be dropped."""

    most: str
    used: str
    droppable: str


_FIRST = _Names("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_SECOND = _Names("memory.max", "memory.current", "inactive_file")


def total_memory() -> int:
    """Bytes, whatever else uses them."""
    return min([psutil.virtual_memory().total, *(bound.most for bound in _bounds())])


def available_memory() -> int:
    """Bytes that new data may take."""
    return max(0, min([psutil.virtual_memory().available, *(bound.most - bound.used for bound in _bounds())]))


def _bounds() -> Iterator[_Bound]:
    """Of this process's group and of all groups around it."""
    try:
        lines = OWN_GROUPS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, kinds, path = line.split(":", 2)
        if kinds and "memory" not in kinds.split(","):
            continue
        root, names = (GROUPS / "memory", _FIRST) if kinds else (GROUPS, _SECOND)
        # In a container the path may be the one outside of it; what bounds the container is then the root's.
        own = root / path.lstrip("/")
        for folder in (own, *own.parents):
            if folder.is_relative_to(root):
                with suppress(OSError, ValueError):
                    yield _bound(folder, names)


def _bound(folder: Path, names: _Names) -> _Bound:
    """Raises OSError or ValueError where the group has none."""
    most = int((folder / names.most).read_text(encoding="utf-8"))
    used = int((folder / names.used).read_text(encoding="utf-8"))
    counts = dict(line.split(" ", 1) for line in (folder / "memory.stat").read_text(encoding="utf-8").splitlines())
    return _Bound(most, used - int(counts.get(names.droppable, 0)))
