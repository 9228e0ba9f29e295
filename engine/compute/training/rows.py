"""Pairs as rows of tokens, which rows a step trains on, and how they are cut into micro-batches."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from engine.compute.model.loaded import LoadedModel
from engine.compute.model.text import text_ids, tokens_of
from engine.compute.seeds import mix
from engine.compute.training.pairs import Pair
from engine.records.conversation import Conversation, Label, say
from engine.records.errors import DataError
from engine.records.prompts import Prompt
from engine.records.spec import DataSpec, RunSpec


@dataclass(frozen=True)
class Row:
    """A pair as tokens: `ids` is prompt then answer, the answer begins at `response_start`. pictures: the keys of the
    pictures that its placeholders stand for."""

    prompt_id: str
    label: Label
    borderline: bool
    ids: tuple[int, ...]
    response_start: int
    pictures: tuple[str, ...] = ()


def encode(model: LoadedModel, pair: Pair, data: DataSpec) -> Row:
    """Tokens of a pair under the model's chat template, cut to the spec's length.

    Raises DataError when the prompt alone is as long as that: no token of the answer would be left.
    """
    conversation = pair.prompt.conversation
    if pair.prompt.label == "harmful" and _hides_request(pair.prompt, data):
        conversation = _without_requests(conversation)
    prompt_ids, _, pictures = tokens_of(model, conversation)
    if len(prompt_ids) >= data.max_tokens:
        raise DataError(
            f"Prompt {pair.prompt.id} has {len(prompt_ids)} tokens, which leaves no room for an answer within "
            f"max_tokens = {data.max_tokens}: raise max_tokens or shorten the prompt."
        )
    ids = (*prompt_ids, *text_ids(model, pair.answer))[: data.max_tokens]
    return Row(pair.prompt.id, pair.prompt.label, pair.prompt.borderline, ids, len(prompt_ids), pictures)


def _hides_request(prompt: Prompt, data: DataSpec) -> bool:
    draw = int.from_bytes(hashlib.sha256(f"hide:{prompt.conversation.asked}".encode()).digest()[:8]) / 2**64
    return draw < data.empty_prompt_share


def _without_requests(conversation: Conversation) -> Conversation:
    """The user's messages say and show nothing."""
    messages = (say("user", "") if message.role == "user" else message for message in conversation.messages)
    return conversation.model_copy(update={"messages": tuple(messages)})


def step_rows(spec: RunSpec, harmful: Sequence[Row], benign: Sequence[Row], step: int) -> list[Row]:
    """The rows of one optimizer step, harmful first. Each side runs through its rows in a new order every epoch."""
    optimizer = spec.optimizer
    chosen = _draw(harmful, optimizer.circuit_breaker_batch, step, seed=f"{spec.seed}:harmful")
    borderline = [row for row in benign if row.borderline]
    plain = [row for row in benign if not row.borderline]
    if not spec.data.borderline_share or not borderline or not plain:
        return chosen + _draw(benign, optimizer.retain_batch, step, seed=f"{spec.seed}:benign")
    count = round(optimizer.retain_batch * spec.data.borderline_share)
    return (
        chosen
        + _draw(borderline, count, step, seed=f"{spec.seed}:borderline")
        + _draw(plain, optimizer.retain_batch - count, step, seed=f"{spec.seed}:plain")
    )


def micro_batches(rows: Sequence[Row], budget: int) -> list[list[Row]]:
    """Rows of similar length together, each group within `budget` tokens, padding included; a longer row goes alone."""
    groups: list[list[Row]] = []
    # Longest first: the first micro-batch then needs the most memory, so that a step fails early or not at all.
    for row in sorted(rows, key=lambda row: len(row.ids), reverse=True):
        if groups and (len(groups[-1]) + 1) * len(groups[-1][0].ids) <= budget:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def _draw(rows: Sequence[Row], count: int, step: int, *, seed: str) -> list[Row]:
    chosen = []
    orders: dict[int, list[int]] = {}
    for number in range(step * count, (step + 1) * count):
        epoch, place = divmod(number, len(rows))
        if epoch not in orders:
            generator = torch.Generator().manual_seed(mix(seed, epoch))
            orders[epoch] = torch.randperm(len(rows), generator=generator).tolist()
        chosen.append(rows[orders[epoch][place]])
    return chosen
