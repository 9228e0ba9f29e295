"""The Berkeley Function-Calling Leaderboard's own checker of calls, taken out of its package when it is asked for.

The package as a whole needs dozens of others. Its checker needs one table of them, the models that the leaderboard
knows, and of it whether a model writes a function's dots as underscores. Another table stands in for it, with one model
that writes names as they are. Knows nothing of our models.
"""

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from engine.compute.evaluation.borrowed import borrowed
from engine.records.conversation import Call, Conversation
from engine.records.errors import DataError
from engine.records.evaluation.bfcl import PACKAGE, CallQuestion

# Whether these calls are a right answer to the question.
Checker = Callable[[CallQuestion, Sequence[Call]], bool]

_ROOT = "bfcl_eval"
_MODELS = f"{_ROOT}.constants.model_config"
_WRITER = "as-written"
_NOTHING = Conversation(messages=())


def call_checker(root: Path) -> Checker:
    """The checker of the package in this folder. Nothing of the package stays among the loaded modules.

    Raises DataError where the package has another form: what it imports is not there, or its checker no longer tells a
    right call from a wrong one.
    """
    models = ModuleType(_MODELS)
    models.MODEL_CONFIG_MAPPING = {_WRITER: SimpleNamespace(underscore_to_dot=False)}  # type: ignore[attr-defined]
    with borrowed({_ROOT: root / _ROOT}, {_MODELS: models}):
        try:
            module = importlib.import_module(f"{_ROOT}.eval_checker.ast_eval.ast_checker")
            check, python = module.ast_checker, importlib.import_module(f"{_ROOT}.constants.enums").Language.PYTHON
        except Exception as error:  # What a module does while it is loaded is its own.
            raise _another_form(error) from error

    def is_right(question: CallQuestion, calls: Sequence[Call]) -> bool:
        written = [{call.name: call.arguments} for call in calls]
        try:
            said = check(question.functions, written, question.right, python, question.category, _WRITER)
        except Exception:  # Arguments of a shape that it has no case for are none of those that it lists.
            return False
        return said.get("valid") is True

    _need_working(is_right)
    return is_right


def _need_working(is_right: Checker) -> None:
    """Raises DataError unless a right call is right, and another value, name or number of calls is wrong."""
    count = {"type": "dict", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    function = {"name": "count.to", "description": "", "parameters": count}
    listed: list[dict[str, Any]] = [{"count.to": {"n": [3]}}]
    right = Call(name="count.to", arguments={"n": 3})
    wrong = [
        [],
        [right, right],
        [Call(name="count.to", arguments={"n": 4})],
        [Call(name="count_to", arguments={"n": 3})],
    ]
    for category in ("simple_python", "multiple", "parallel", "parallel_multiple"):
        question = CallQuestion("", category, _NOTHING, [function], listed)
        if not is_right(question, [right]) or any(is_right(question, calls) for calls in wrong):
            raise _another_form(f"its checker cannot tell right calls of the category {category} from wrong ones")


def _another_form(reason: object) -> DataError:
    return DataError(f"The checker of function calls cannot be taken from its package ({reason}): use {PACKAGE}.")
