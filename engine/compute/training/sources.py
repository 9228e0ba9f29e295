"""Prompt sources for jobs: files through engine.records.prompts, and Hugging Face datasets. Knows nothing of tokens."""

from engine.records.conversation import Label
from engine.records.errors import DataError
from engine.records.prompts import Prompt, prompts_from_rows, read_source


def read_prompts(source: str, *, label: Label, answer_field: str = "") -> list[Prompt]:
    """Prompts of any source: `sample:NAME`, a file, or `hub:DATASET` (its train split, or `hub:DATASET:SPLIT`).

    Raises DataError naming source, row and field, or saying why the dataset cannot be had.
    """
    if not source.startswith("hub:"):
        return read_source(source, label=label, answer_field=answer_field)
    name, _, split = source.removeprefix("hub:").partition(":")
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise DataError(f"{source} needs the package 'datasets': install it with `pip install datasets`.") from error
    try:
        dataset = load_dataset(name, split=split or "train")
    except Exception as error:  # The library raises kinds of its own, of requests and of the file system.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"The dataset {name} cannot be read: {reason[:300]}. Check its name and the network."
        ) from error
    return prompts_from_rows(enumerate(dataset, start=1), name=source, label=label, answer_field=answer_field)
