"""MMLU's development questions out of lm-eval's package, read where they lie. Knows nothing of models."""

import json
import re
from typing import NamedTuple

from engine.records.errors import DataError
from engine.records.evenly import evenly
from engine.records.package_files import need_package_file
from engine.records.settings import Settings

PACKAGE = "lm-eval==0.4.13"
ABILITY = "mmlu"
FILE = "flan_cot_fewshot/_cot_prompts.json"
LETTERS = "ABCD"


class Question(NamedTuple):
    """One question with its four choices in one text, and the letter of the right one."""

    subject: str
    text: str
    answer: str


def read_questions(settings: Settings, *, limit: int = 0) -> list[Question]:
    """All questions, or `limit` of them, evenly taken. Raises DataError when the package is not there."""
    file = need_package_file(PACKAGE, FILE, settings)
    questions = parse_questions(json.loads(file.read_text(encoding="utf-8")))
    if not questions:
        raise DataError(f"{file.name} holds no questions in a form that is known here: use {PACKAGE}.")
    return evenly(questions, limit)


def parse_questions(subjects: dict[str, str]) -> list[Question]:
    """Questions of worked examples: 'Q: ... (A) ... (D) ... A: ... The answer is (C).' The reasoning is left out."""
    found = []
    for subject, text in subjects.items():
        for piece in re.split(r"\n\s*\n(?=Q:)", text):
            match = re.search(r"Q:\s*(.+?)\n\(A\)(.+?)\nA:.*?answer is \(([ABCD])\)", piece, re.DOTALL)
            if match:
                choices = re.sub(r"\s*\(([BCD])\)\s*", r"\n\1. ", match[2].strip())
                found.append(Question(subject, f"{match[1].strip()}\nA. {choices}", match[3]))
    return found
