"""Where the spaces lie in which tokens of a run are measured: beside a run that was packed, else in the cache."""

from pathlib import Path

from engine.records.runs import Run
from engine.records.settings import Settings
from engine.records.versions import marked

# Of how they are measured: another number, and they are measured anew.
SPACES = 1


def kept_spaces(run: Run, settings: Settings) -> Path:
    """Measured on this machine, or about to be."""
    record = run.record()
    # Of a model that may change under its name: other weights have other spaces.
    name = f"{record.digest}-{record.made_of}" if record.made_of else record.digest
    return settings.cache / "spaces" / f"{marked(name, SPACES)}.safetensors"


def packed_spaces(run: Run) -> Path:
    """What travels with a packed run: elsewhere the answers they were measured on would have to be generated first."""
    return run.folder / f"{marked('spaces', SPACES)}.safetensors"
