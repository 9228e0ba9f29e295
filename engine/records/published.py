"""The files that the published training reads, and where they are to be put. None of them ships with the workbench."""

from pathlib import Path
from typing import NamedTuple

from engine.records.errors import DataError
from engine.records.settings import given_path, read_settings


class PublishedFile(NamedTuple):
    """what: in words.  origin: where its authors publish it.  patterns: which file names are taken for it."""

    what: str
    origin: str
    patterns: tuple[str, ...]


_CODE = "the authors' training code (github.com/GraySwanAI/circuit-breakers), folder data"
FILES = {
    "circuit_breakers_train.json": PublishedFile(
        "the circuit-breaker set, 4,994 harmful requests with answers", _CODE, ("circuit_breakers_train.json",)
    ),
    "circuit_breakers_val.json": PublishedFile(
        "held-out rows of the circuit-breaker set", _CODE, ("circuit_breakers_val.json",)
    ),
    "xstest_completions.csv": PublishedFile(
        "borderline requests whose answers were labelled as compliance", _CODE, ("xstest*completions*.csv",)
    ),
    "ultrachat_test_sft": PublishedFile(
        "dialogues of UltraChat-200k, split test_sft",
        "the dataset HuggingFaceH4/ultrachat_200k on huggingface.co, its file data/test_sft-*.parquet",
        ("*test_sft*.parquet", "*test_sft*.json", "*test_sft*.jsonl"),
    ),
}


def published_folder() -> Path:
    """Where the published files are looked for: WORKBENCH_CACHE/published."""
    return read_settings().cache / "published"


def published_file(name: str) -> Path:
    """Where a published file lies. Raises DataError saying which file is missing, from where to get it and where to
    put it, or which files could be it."""
    known = FILES.get(name)
    if known is None:
        raise DataError(f"There is no published file '{name}': choose {', '.join(FILES)}.")
    folder = published_folder()
    found = sorted({file for pattern in known.patterns for file in folder.glob(pattern)})
    if not found:
        raise DataError(
            f"{name} is not here ({known.what}). Get it from {known.origin}, and put it into {folder} under the name "
            f"{' or '.join(known.patterns)}."
        )
    if len(found) > 1:
        raise DataError(
            f"{name} may be any of {', '.join(file.name for file in found)} in {folder}: leave one of them there."
        )
    return given_path(str(found[0]), error=DataError)
