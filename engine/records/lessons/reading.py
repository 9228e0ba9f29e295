"""Lessons from their files: the units that can be read, and in words what is wrong with each of the others.

A file is one unit; its name without the ending is the unit's. Knows nothing of checks or screens.
"""

import os
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError

from engine.records.errors import DataError, RunError
from engine.records.lessons.lesson import CHECKS, Unit
from engine.records.settings import SAMPLE_DATA, Settings

LARGEST = 2**20
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")


class Lesson(NamedTuple):
    """A unit, its name, and the file that it is from."""

    name: str
    unit: Unit
    file: Path


class Lessons(NamedTuple):
    """units: in the order that they are taught.  problems: what is wrong with files that are left out."""

    units: list[Lesson]
    problems: list[str]

    def named(self, name: str) -> Lesson | None:
        return next((one for one in self.units if one.name == name), None)


def read_lessons(settings: Settings) -> Lessons:
    """Those that ship and those of the teacher's own folder, where one is set; a file of one's own replaces the one
    that ships under its name."""
    units: dict[str, Lesson] = {}
    problems = []
    for folder in (SAMPLE_DATA / "lessons", settings.lessons):
        if folder is None:
            continue
        if not folder.is_dir():
            problems.append(f"The folder of lessons {folder} is not there: make it, or correct WORKBENCH_LESSONS.")
        for file in sorted((*folder.glob("*.yaml"), *folder.glob("*.yml"))):
            try:
                lesson = Lesson(file.stem, read_unit(file), file)
                before = units.get(file.stem)
                if before is not None and before.file.parent == folder:
                    raise DataError(
                        f"The lessons {before.file.name} and {file.name} are of one name: give one of them another."
                    )
                units[file.stem] = lesson
            except DataError as error:
                problems.append(str(error))
    return Lessons(sorted(units.values(), key=lambda one: (one.unit.order, one.name)), problems)


def read_unit(file: Path) -> Unit:
    """Kept while the file is as it was. Raises DataError naming the file, the line and what is wrong there."""
    if not _NAME.fullmatch(file.stem):
        raise DataError(
            f"The lesson {file.name} has a name that progress cannot be kept by: use small letters, digits and '-'."
        )
    try:
        stat = file.stat()
        if stat.st_size > LARGEST:
            raise DataError(f"The lesson {file.name} is larger than {LARGEST // 2**20} MiB: split it into units.")
        return _read_unit(file, stat.st_mtime_ns, stat.st_size)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"The lesson {file.name} cannot be read: {error}.") from error


@lru_cache(maxsize=128)
def _read_unit(file: Path, _written: int, _size: int) -> Unit:
    text = file.read_text(encoding="utf-8")
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
        # A value under the wrong tag, such as a date that is none, fails in ways of its own.
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        said = getattr(error, "problem", None) or "it is no YAML"
        raise DataError(f"The lesson {file.name}{where}: {said}. Correct the file.") from error
    try:
        return Unit.model_validate(content)
    except RunError as error:
        # Of a newer version.
        raise DataError(f"The lesson {file.name}: {error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise DataError(_problem(file.name, first, yaml.compose(text, Loader=yaml.SafeLoader))) from error


def _problem(name: str, first: Any, tree: yaml.Node | None) -> str:
    # Behind a check's place pydantic names its kind, which no file has there.
    place = [step for step in first["loc"] if step not in CHECKS]
    where = "".join(f"[{step + 1}]" if isinstance(step, int) else f".{step}" for step in place).lstrip(".")
    said = first["msg"].removeprefix("Value error, ")
    if first["type"] == "union_tag_invalid":
        said = f"there is no check '{first['ctx']['tag']}': choose from {', '.join(CHECKS)}"
    elif first["type"] == "extra_forbidden":
        said = "there is no such field"
    elif first["type"] == "missing":
        said = "it is missing"
    what = f" {where}:" if where else ""
    return f"The lesson {name}, line {_line(tree, place)},{what} {said}. Correct the file."


def _line(node: yaml.Node | None, place: Sequence[str | int]) -> int:
    """The line of the innermost thing on the way that the file has."""
    line = node.start_mark.line if node is not None else 0
    for step in place:
        if isinstance(node, yaml.MappingNode):
            found = next((pair for pair in node.value if pair[0].value == step), None)
            if found is None:
                break
            line, node = found[0].start_mark.line, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line
        else:
            break
    return line + 1


def curves_file(lesson: Lesson, name: str) -> Path:
    """A file of recorded curves beside a lesson; its name holds no way out of the folder."""
    return lesson.file.parent / os.path.basename(name)
