"""Requests of a run's own prompt sets that it was never trained on, as rows to evaluate. Knows nothing of attacks."""

from typing import NamedTuple

from engine.compute.training.sources import read_prompts
from engine.records.conversation import Label
from engine.records.errors import DataError
from engine.records.evaluation.own import held_out, sample_source
from engine.records.evaluation.rows import EvaluationRow
from engine.records.evaluation.sides import SidedRows, sided_prompts
from engine.records.prompt_files import read_source
from engine.records.prompts import Prompt, select
from engine.records.runs import Run
from engine.records.sources import source_texts


class OwnRows(NamedTuple):
    """source: in words, which rows they are.  rows: requests of text.  calls: those that offer tools, by side."""

    source: str
    rows: list[EvaluationRow]
    calls: SidedRows = SidedRows([], [], [])


def own_rows(run: Run, label: Label, *, limit: int = 0) -> OwnRows:
    """At most `limit` rows of the run's own set that are held out, in an order that its seed decides; 0: all. Requests
    that offer tools are counted for themselves: the judge of texts knows nothing of calls.

    Files are read as they are now. Where the set is gone, or has neither test nor validation split, rows of the sample
    set's test split stand in, but for those that the run's own training rows ask too. Answers in files are not used:
    both models give their own.
    """
    spec = run.spec()
    data = spec.data.model_copy(update={"heldout_rows": 0})
    source = data.circuit_breaker if label == "harmful" else data.retain
    prompts, whole = _readable(source, label, data.answer_field)
    reason = "has no split that was held out" if whole else "cannot be read"
    # Of a set that is there in part nobody knows what it trained on.
    split, rows = held_out(prompts) if whole else (None, [])
    if split is not None:
        try:
            chosen = select(rows, data, label=label, split=split, seed=spec.seed)
            return _parted(f"own {split} split", chosen, limit)
        except DataError:
            # The spec's categories or styles leave none.
            reason = "holds out none of these categories and styles"
    trained = {prompt.conversation.asked for prompt in prompts if prompt.split == "train"}
    others = [p for p in read_source(sample_source(label), label=label) if p.conversation.asked not in trained]
    unfiltered = data.model_copy(update={"categories": (), "styles": ()})
    chosen = select(others, unfiltered, label=label, split="test", seed=spec.seed)
    return _parted(f"{sample_source(label)}, test split (own set {reason})", chosen, limit)


def trained_texts(run: Run) -> list[str]:
    """What the run's sets ask in their training splits, as far as their files can be read."""
    data, found = run.spec().data, []
    for source in (data.circuit_breaker, data.retain):
        prompts, _ = _readable(source, "benign", data.answer_field)
        found += [prompt.text for prompt in prompts if prompt.split == "train"]
    return found


def _readable(text: str, label: Label, answer_field: str) -> tuple[list[Prompt], bool]:
    """Prompts of those sources that can be read, and whether all can: one that cannot takes none of the others with
    it."""
    found, whole = list[Prompt](), True
    for source in source_texts(text):
        try:
            found += read_prompts(source, label=label, answer_field=answer_field)
        except DataError:
            whole = False
    return found, whole


def _parted(source: str, prompts: list[Prompt], limit: int) -> OwnRows:
    """The first ones of each kind."""
    most = limit or len(prompts)
    texts = [prompt for prompt in prompts if not prompt.conversation.tools]
    calls = sided_prompts(prompt for prompt in prompts if prompt.conversation.tools)
    rows = [
        EvaluationRow(prompt.conversation, style=prompt.style, borderline=prompt.borderline) for prompt in texts[:most]
    ]
    return OwnRows(source, rows, SidedRows(*(side[:most] for side in calls)))
