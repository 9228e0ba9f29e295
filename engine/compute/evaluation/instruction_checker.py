"""IFEval's own checks of instructions, taken out of a package when they are asked for. Knows nothing of our models.

The package's checks import a language detector and nltk, which those that are asked for here do not need: others stand
in for them, of which one splits words by nltk's own pattern.
"""

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from engine.compute.evaluation.borrowed import borrowed
from engine.records.errors import DataError
from engine.records.evaluation.ifeval import PACKAGE, Instructed
from engine.records.package_files import fetched_anew

# Whether an answer does all that its request asks for.
Follows = Callable[[Instructed, str], bool]

_ROOT = "eval_framework"
_TASKS = f"{_ROOT}.tasks"


def instruction_checker(root: Path) -> Follows:
    """The checks of the package in this folder, strictly as published: an answer is taken as it is, and an empty one
    follows nothing. Nothing of the package stays among the loaded modules.

    Raises DataError where the package has another form.
    """
    packages = {_ROOT: root / _ROOT, _TASKS: root / _ROOT / "tasks"}
    with borrowed(packages, _stand_ins()):
        try:
            checks = importlib.import_module(f"{_TASKS}.ifeval.instructions_registry").INSTRUCTION_DICT
        except Exception as error:  # What a module does while it is loaded is its own.
            raise _another_form(error) from error

    def follows(row: Instructed, answer: str) -> bool:
        return bool(answer.strip()) and all(
            _is_followed(checks, name, arguments, row.request, answer)
            for name, arguments in zip(row.instructions, row.arguments, strict=True)
        )

    _need_working(follows)
    return follows


def _is_followed(checks: Any, name: str, arguments: dict[str, Any], request: str, answer: str) -> bool:
    if name not in checks:
        raise DataError(f"The instruction {name!r} has no check in {PACKAGE}: {fetched_anew(PACKAGE)}.")
    check = checks[name](name)
    # Rows written as a table hold every argument of every instruction, with null where it is not theirs.
    check.build_description(**{key: value for key, value in arguments.items() if value is not None})
    if "prompt" in (check.get_instruction_args() or {}):
        check.build_description(prompt=request)
    return bool(check.check_following(answer))


def _need_working(follows: Follows) -> None:
    """Raises DataError unless commas and words are counted."""
    asked = Instructed(
        "Say it.",
        ("punctuation:no_comma", "length_constraints:number_words"),
        ({}, {"relation": "at least", "num_words": 3}),
    )
    try:
        told_apart = [follows(asked, answer) for answer in ("one two three", "one two", "one, two three", " ")]
    except Exception as error:  # Checks of another form raise what they like.
        raise _another_form(error) from error
    if told_apart != [True, False, False, False]:
        raise _another_form("its checks cannot tell an answer that follows from one that does not")


def _stand_ins() -> dict[str, ModuleType]:
    detector, words, mapping = ModuleType("langdetect"), ModuleType("nltk"), ModuleType("immutabledict")
    detector.LangDetectException = ValueError  # type: ignore[attr-defined]
    words.tokenize = SimpleNamespace(RegexpTokenizer=_Words)  # type: ignore[attr-defined]
    mapping.immutabledict = dict  # type: ignore[attr-defined]
    return {"langdetect": detector, "nltk": words, "immutabledict": mapping}


class _Words:
    def __init__(self, pattern: str) -> None:
        self.pattern = pattern

    def tokenize(self, text: str) -> list[str]:
        return re.findall(self.pattern, text)


def _another_form(reason: object) -> DataError:
    return DataError(f"The checks of instructions cannot be taken from their package ({reason}): use {PACKAGE}.")
