"""A package in the form of bfcl-eval with questions and a checker of its own, written where packages are fetched to."""

import json
from pathlib import Path
from typing import Any

from engine.records.archives import packages_folder
from engine.records.evaluation.bfcl import CATEGORIES, IRRELEVANCE, PACKAGE
from engine.records.settings import Settings

LAMP = {
    "name": "lamp.set",
    "description": "Sets a lamp.",
    "parameters": {
        "type": "dict",
        "properties": {
            "room": {"type": "string"},
            "share": {"type": "float", "description": "From 0 to 1.", "default": 1.0},
            "hours": {"type": "tuple", "items": {"type": "integer"}},
            "more": {"type": "dict", "properties": {"type": {"type": "any"}}},
        },
        "required": ["room"],
    },
}
BELL = {"name": "ring", "parameters": {"type": "dict", "properties": {}, "required": []}}
# As simple as a checker can be, in the place and with the arguments of the real one.
CHECKER = """
from bfcl_eval.constants.enums import Language
from bfcl_eval.constants.model_config import MODEL_CONFIG_MAPPING


def ast_checker(func_description, model_output, possible_answer, language, test_category, model_name):
    assert language is Language.PYTHON and not MODEL_CONFIG_MAPPING[model_name].underscore_to_dot
    assert {one["name"] for one in func_description}
    def fits(call, listed):
        (name, given), (wanted, choices) = *call.items(), *listed.items()
        return name == wanted and given.keys() <= choices.keys() and all(
            given[one] in some if one in given else "" in some for one, some in choices.items()
        )
    same = len(model_output) == len(possible_answer)
    return {"valid": same and all(map(fits, model_output, possible_answer)), "error": []}
"""
ENUMS = 'from enum import Enum\n\n\nclass Language(Enum):\n    PYTHON = "python"\n'


def question(text: str, *functions: dict[str, Any]) -> dict[str, Any]:
    return {"question": [[{"role": "user", "content": text}]], "function": list(functions)}


QUESTIONS = {
    "simple_python": [question(f"Light the {room}.", LAMP) for room in ("hall", "attic", "cellar", "shed")],
    "multiple": [question("Ring.", LAMP, BELL), question("Ring, please.", BELL, LAMP)],
    "parallel": [question("Light the hall and the attic.", LAMP)],
    "parallel_multiple": [question("Light the hall and ring.", LAMP, BELL)],
    IRRELEVANCE: [question("How tall is a giraffe?", BELL), question("And an okapi?", LAMP)],
}
HALL, ATTIC, RING = (
    {"lamp.set": {"room": ["hall"], "share": [1.0, ""]}},
    {"lamp.set": {"room": ["attic"]}},
    {"ring": {}},
)
RIGHT = {
    "simple_python": [
        [{"lamp.set": {"room": [room], "share": ["", 1.0]}}] for room in ("hall", "attic", "cellar", "shed")
    ],
    "multiple": [[RING], [RING]],
    "parallel": [[HALL, ATTIC]],
    "parallel_multiple": [[HALL, RING]],
}


def write_bfcl(settings: Settings, *, checker: str = CHECKER, **changed: list[dict[str, Any]]) -> Path:
    """changed: other rows of a category. Returns the package's own folder."""
    folder = packages_folder(PACKAGE, settings) / "bfcl_eval"
    for category in CATEGORIES:
        rows = changed.get(category, QUESTIONS[category])
        named = [{"id": f"{category}_{number}"} | row for number, row in enumerate(rows)]
        _write(folder / "data" / f"BFCL_v4_{category}.json", named)
        right = [
            {"id": f"{category}_{number}", "ground_truth": one} for number, one in enumerate(RIGHT.get(category, []))
        ]
        if right:
            _write(folder / "data" / "possible_answer" / f"BFCL_v4_{category}.json", right)
    for path, text in (
        ("constants/enums.py", ENUMS),
        # What the real one imports at this place is never there.
        ("constants/model_config.py", "import a_library_that_nobody_installs\n"),
        ("eval_checker/ast_eval/ast_checker.py", checker),
    ):
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        for parent in (file.parent, *file.parent.parents):
            (parent / "__init__.py").touch()
            if parent == folder:
                break
    return folder


def _write(file: Path, rows: list[dict[str, Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
