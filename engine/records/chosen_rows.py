"""What a run takes of one side's prompts, and what is to be said of them before it trains. Knows nothing of files or
tokens."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, get_args

from engine.records.conversation import Label
from engine.records.prompts import Prompt, Split, select
from engine.records.spec_parts import DataSpec
from engine.records.tool_prompts import tools_key


class RowKind(NamedTuple):
    """What decides when a row is drawn."""

    borderline: bool
    tools: str
    pictured: bool = False


def kind_of(prompt: Prompt) -> RowKind:
    return RowKind(prompt.borderline, tools_key(prompt), bool(prompt.conversation.pictures))


def held_apart(prompts: Sequence[Prompt]) -> list[Prompt]:
    """Without held-out prompts that are, all turns and tools alike, training prompts of the same side: they would be
    measured as held out and are not. Conversations that merely end alike stay."""
    trained = [prompt for prompt in prompts if prompt.split == "train"]
    # Keys of whole conversations take their time, so only those are made that may be needed.
    asked_in_training = {prompt.conversation.asked for prompt in trained}
    suspected = [
        prompt for prompt in prompts if prompt.split != "train" and prompt.conversation.asked in asked_in_training
    ]
    asked_in_both = {prompt.conversation.asked for prompt in suspected}
    keys = {prompt.conversation.key for prompt in trained if prompt.conversation.asked in asked_in_both}
    left_out = {id(prompt) for prompt in suspected if prompt.conversation.key in keys}
    return [prompt for prompt in prompts if id(prompt) not in left_out]


def chosen_rows(prompts: Sequence[Prompt], data: DataSpec, *, label: Label, seed: int) -> dict[Split, list[Prompt]]:
    """What the spec takes of each split. Of a split that no prompt is in nothing is held out; training prompts there
    must be. Raises DataError where nothing is left of a split."""
    there = {"train", *(prompt.split for prompt in prompts)}
    return {
        split: select(prompts, data, label=label, split=split, seed=seed) for split in get_args(Split) if split in there
    }


def missing_answers(data: DataSpec, label: Label, chosen: Mapping[Split, Sequence[Prompt]]) -> str:
    """What stands in the way where the spec wants given answers and some of these have none; '' where nothing does."""
    every = [prompt for rows in chosen.values() for prompt in rows]
    missing = [prompt for prompt in every if prompt.answer is None]
    if data.answers != "given" or not missing:
        return ""
    return (
        f"{len(missing)} of {len(every)} {label} rows have no answer of their own, such as {missing[0].id} of "
        f"{missing[0].source}: choose 'elicit', or give a file with answers."
    )


def idle_borderline_share(data: DataSpec, benign: Iterable[RowKind]) -> str:
    """Why the share decides nothing about these training rows, '' where it does or where they are as it asks."""
    share = data.borderline_share
    if not share:
        return ""
    rows = [row for row in benign if not (data.tool_share and row.tools)]
    turns: dict[bool, set[bool]] = {}
    for row in rows:
        turns.setdefault(row.pictured and data.picture_steps == "alternating", set()).add(row.borderline)
    borderline = sum(row.borderline for row in rows)
    is_as_asked = share == 1 and rows and borderline == len(rows)
    if is_as_asked or any(len(kinds) > 1 for kinds in turns.values()):
        return ""
    which = "benign training rows without tools" if data.tool_share else "benign training rows"
    return (
        f"data.borderline_share is {share:g} and decides nothing: {borderline} of {len(rows)} {which} are borderline, "
        "and no step has both kinds to draw from."
    )
