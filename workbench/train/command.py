"""The command line that starts what the form holds. Pure: draws nothing."""

import shlex

from engine.records.presets import preset_names
from engine.records.spec import RunSpec, flat
from engine.records.spec_text import assignment
from workbench.train.draft import Draft
from workbench.train.place import THIS_MACHINE, Choice


def command_of(draft: Draft, spec: RunSpec, file_name: str, *, place: Choice = THIS_MACHINE) -> str:
    """A preset with its changed fields, or the spec as the file that the page offers to download; and where to."""
    there = _options(place)
    kind, _, name = draft.origin.partition(":")
    if kind != "preset" or name not in preset_names():
        return " \\\n  ".join([f"python -m engine submit {shlex.quote(file_name)}", *there])
    changes = [
        f"--set {shlex.quote(assignment(path, value))}"
        for path, value in flat(spec).items()
        if value != draft.base[path]
    ]
    return " \\\n  ".join(["python -m engine submit " + shlex.quote(name), *changes, *there])


def _options(place: Choice) -> list[str]:
    if not place.cluster:
        return []
    options = [f"--cluster {shlex.quote(place.cluster)}"]
    if place.asked is not None:
        asked = place.asked
        options.append(f"--partition {shlex.quote(asked.partition)} --gpus {asked.gpus} --hours {asked.hours:g}")
    return options
