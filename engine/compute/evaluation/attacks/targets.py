"""What optimising attacks push towards: the words a compliant answer would begin with, and their loss.

Knows nothing of how an attack searches. An attacker who knows the harmfulness probe also pushes below its threshold.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache

from engine.compute.evaluation.attacks.forced_call import forced_name
from engine.compute.model.activations import recorded
from engine.compute.model.adapters import adapted
from engine.compute.model.harmfulness import Probe
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.padding import positions_of
from engine.compute.model.reading import embed, for_each
from engine.compute.model.text import begun_call, ids_around, tokens_of
from engine.records.evaluation.rows import EvaluationRow, prefill_of

TARGET_TOKENS = 32
# In logits: how far below its threshold a search wants the probe, and what a logit above that counts, in nats.
MARGIN, EVASION = 0.5, 0.3


def target_ids(model: LoadedModel, row: EvaluationRow) -> list[int]:
    """The row's target, cut to what such attacks usually aim at; a row without one aims at its prefill, where it offers
    tools at the call of the expected function up to its arguments."""
    words = row.target or prefill_of(row)
    if row.conversation.tools:
        words = begun_call(model, row.conversation, forced_name(row), "arguments")
    return list(tokens_of(model, row.conversation, begun=words).begun[:TARGET_TOKENS])


def embedding_table(model: LoadedModel) -> Float[Tensor, "vocabulary d_model"]:
    """The vectors of all tokens as the model holds them, without a gradient; see `scaled`."""
    table = model.causal_lm.get_input_embeddings().weight
    assert isinstance(table, Tensor)
    return table.detach()


def scaled(model: LoadedModel, vectors: Float[Tensor, "*token d_model"]) -> Float[Tensor, "*token d_model"]:
    """Vectors of the table as they enter the first block: some models scale them on the way."""
    scale = getattr(model.causal_lm.get_input_embeddings(), "embed_scale", None)
    return vectors if scale is None else vectors * torch.as_tensor(scale).to(vectors)


class Aim(NamedTuple):
    """What stands before and behind a suffix, as vectors, and the tokens that should follow."""

    before: Float[Tensor, "before d_model"]
    after: Float[Tensor, "after d_model"]
    target: list[int]


def aim_at(model: LoadedModel, row: EvaluationRow) -> Aim:
    before, after = (embed(model, ids) for ids in ids_around(model, row.conversation))
    return Aim(before, after, target_ids(model, row))


def aimed_losses(
    model: LoadedModel,
    adapter: str | None,
    aims: Sequence[Aim],
    suffixes: Sequence[Float[Tensor, "_ d_model"]],
    *,
    opening: DynamicCache | None = None,
    probe: Probe | None = None,
) -> Float[Tensor, " aim"]:
    """As target_loss, of suffixes of any lengths for several requests, in one pass: rows are padded on the left.

    opening: of what stands before, as read_before gave it, where all have the same.
    """
    rows = [
        torch.cat([*((aim.before,) if opening is None else ()), suffix, aim.after, embed(model, aim.target)])
        for aim, suffix in zip(aims, suffixes, strict=True)
    ]
    inputs = pad_sequence(rows, batch_first=True, padding_side="left")
    longest = max(len(aim.target) for aim in aims)
    read = 0 if opening is None else opening.get_seq_length()
    attention = torch.tensor(
        [[1] * read + [0] * (inputs.shape[1] - len(row)) + [1] * len(row) for row in rows], device=inputs.device
    )
    wanted = torch.tensor([[-100] * (longest - len(aim.target)) + aim.target for aim in aims], device=inputs.device)
    counts = torch.tensor([len(aim.target) for aim in aims], device=inputs.device)
    with adapted(model, adapter), recorded(model, [probe.block] if probe else []) as outputs:
        logits = model.causal_lm(
            inputs_embeds=inputs,
            attention_mask=attention,
            position_ids=positions_of(attention)[:, read:],
            past_key_values=for_each(opening, len(rows)),
            use_cache=False,
            logits_to_keep=longest + 1,
        ).logits
    losses = torch.nn.functional.cross_entropy(
        logits[:, :-1].float().transpose(1, 2), wanted, reduction="none", ignore_index=-100
    )
    if probe is None:
        return losses.sum(1) / counts
    above = torch.relu(probe.scores(outputs[probe.block][:, -longest:]) - probe.threshold + MARGIN)
    return losses.sum(1) / counts + EVASION * (above * (wanted != -100)).sum(1) / counts


def target_loss(
    model: LoadedModel,
    adapter: str | None,
    before: Float[Tensor, "before d_model"],
    suffixes: Float[Tensor, "suffix token d_model"],
    after: Float[Tensor, "after d_model"],
    target: Sequence[int],
    *,
    opening: DynamicCache | None = None,
    probe: Probe | None = None,
) -> Float[Tensor, " suffix"]:
    """Mean nats a token of the target behind each suffix: what the attacks lower. With a probe, also by how much its
    scores on the target lie above its threshold, and a margin.

    opening: of `before`, as read_before gave it; without one it is run before each suffix.
    """
    count = len(suffixes)
    behind = torch.cat([after, embed(model, target)])
    inputs = torch.cat([suffixes, behind.expand(count, *behind.shape)], dim=1)
    if opening is None:
        inputs = torch.cat([before.expand(count, *before.shape), inputs], dim=1)
    with adapted(model, adapter), recorded(model, [probe.block] if probe else []) as outputs:
        logits = model.causal_lm(
            inputs_embeds=inputs,
            past_key_values=for_each(opening, count),
            use_cache=False,
            logits_to_keep=len(target) + 1,
        ).logits
    wanted = torch.tensor(list(target), device=model.device).expand(count, -1)
    losses = torch.nn.functional.cross_entropy(logits[:, :-1].float().transpose(1, 2), wanted, reduction="none")
    if probe is None:
        return losses.mean(1)
    above = probe.scores(outputs[probe.block][:, -len(target) :]) - probe.threshold + MARGIN
    return losses.mean(1) + EVASION * torch.relu(above).mean(1)
