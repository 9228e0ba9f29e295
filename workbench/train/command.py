"""The command line that starts what the form holds. Pure: draws nothing."""

import shlex

from engine.records.presets import preset_names
from engine.records.spec import RunSpec, flat
from engine.records.spec_text import assignment
from workbench.train.draft import Draft


def command_of(draft: Draft, spec: RunSpec, file_name: str) -> str:
    """A preset with its changed fields, or the spec as the file that the page offers to download."""
    kind, _, name = draft.origin.partition(":")
    if kind != "preset" or name not in preset_names():
        return f"python -m engine submit {shlex.quote(file_name)}"
    changes = [
        f"--set {shlex.quote(assignment(path, value))}"
        for path, value in flat(spec).items()
        if value != draft.base[path]
    ]
    return " \\\n  ".join(["python -m engine submit " + shlex.quote(name), *changes])
