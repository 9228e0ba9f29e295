"""Modules of a package that lies where it was fetched to, imported for a while and gone afterwards. Knows nothing of
what they are for."""

import importlib.machinery
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType


@contextmanager
def borrowed(packages: Mapping[str, Path], stand_ins: Mapping[str, ModuleType]) -> Iterator[None]:
    """Within, these packages are the ones in these folders, whatever is installed, their own first lines not run, and
    the modules of these names are the ones given; afterwards all modules are as they were."""
    names = {*packages, *stand_ins}
    before = {name: module for name, module in sys.modules.items() if _is_of(name, names)}
    importers, writes = set(sys.path_importer_cache), sys.dont_write_bytecode
    for name in before:
        del sys.modules[name]
    sys.modules |= {name: _empty(name, folder) for name, folder in packages.items()} | dict(stand_ins)
    # It lies where it was fetched to, which is no place for more files.
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = writes
        for name in [name for name in sys.modules if _is_of(name, names)]:
            del sys.modules[name]
        sys.modules.update(before)
        for path in set(sys.path_importer_cache) - importers:
            del sys.path_importer_cache[path]


def _empty(name: str, folder: Path) -> ModuleType:
    package = ModuleType(name)
    package.__path__ = [str(folder)]
    package.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
    return package


def _is_of(name: str, roots: set[str]) -> bool:
    return any(name == root or name.startswith(f"{root}.") for root in roots)
