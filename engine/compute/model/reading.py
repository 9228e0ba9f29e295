"""Prompts read into the cache of keys and values, what some open with alike once. Knows nothing of what comes behind
them."""

import copy
from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache

from engine.compute.model.adapters import adapted
from engine.compute.model.grouped_queries import without_copies
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.mixed import MixedBatch, Voice
from engine.compute.model.openings import opening_lengths
from engine.compute.model.padding import batch_of, positions_of
from engine.compute.model.room import tokens_at_once
from engine.compute.model.roomy_cache import roomy_cache

# A prompt enters a processor in parts of so many tokens, all rows together, so that a step stays short.
PREFILL_TOKENS = 256

# What a prompt is: tokens, or vectors in their place.
Prompt = Sequence[int] | Float[Tensor, "_ d_model"]


class Reading(NamedTuple):
    """Prompts that have been read but for their last columns, `ahead`. attention: of what is in the cache and of
    these."""

    batch: MixedBatch
    cache: Any
    attention: Int[Tensor, "prompt seen"]
    ahead: Tensor


def read_prompts(
    model: LoadedModel, prompts: Sequence[Prompt], voices: Sequence[Voice], *, to_come: int = 0
) -> Generator[None, None, Reading]:
    """Read all prompts, which end together, an opening that some share once for each voice; yields between the parts.

    Prompts are all tokens or all vectors; rows of one voice lie together.  to_come: how many tokens will be read behind
    them, at most.
    """
    lengths = _openings(model, prompts, voices, to_come)
    columns, attention = _columns(model, [prompt[length:] for prompt, length in zip(prompts, lengths, strict=True)])
    cache: Any = roomy_cache(model)
    # Each opening once for each voice that reads it, those of one voice together.
    read = [(voice, tuple(prompt[:length])) for prompt, voice, length in zip(prompts, voices, lengths, strict=True)]
    distinct = list(dict.fromkeys(read)) if max(lengths) else []
    batch = MixedBatch(model, [voice for voice, _ in distinct] or voices)
    shared = 0
    if distinct:
        opening, seen = _columns(model, [ids for _, ids in distinct])
        shared = opening.shape[1]
        for part in _parts(model, opening.shape):
            if part.start:
                yield None
            cache = _read(model, batch, opening[:, part], seen[:, : part.stop], cache)
        places = {one: place for place, one in enumerate(distinct)}
        rows = [places[one] for one in read]
        chosen = torch.tensor(rows, device=model.device)
        cache.batch_select_indices(chosen)
        batch.select(rows)
        # What is padded then lies between the opening and the rest of a prompt; positions leave it out.
        attention = torch.cat([seen[chosen], attention], dim=1)
        yield None
    *parts, last = _parts(model, columns.shape)
    for part in parts:
        cache = _read(model, batch, columns[:, part], attention[:, : shared + part.stop], cache)
        yield None
    return Reading(batch, cache, attention, columns[:, last])


@torch.no_grad()
def embed(model: LoadedModel, ids: Sequence[int]) -> Float[Tensor, "token d_model"]:
    """What enters the first block for these tokens, positions of pictures among them."""
    return model.causal_lm.get_input_embeddings()(torch.tensor(list(ids), dtype=torch.long, device=model.device))


@torch.no_grad()
def read_before(model: LoadedModel, adapter: str | None, before: Float[Tensor, "before d_model"]) -> DynamicCache:
    """The keys and values of what stands before all that is searched or trained: nothing behind it changes them, so it
    is read once."""
    with adapted(model, adapter):
        cache = model.decoder(inputs_embeds=before[None], use_cache=True).past_key_values
    assert isinstance(cache, DynamicCache)
    return cache


def for_each(opening: DynamicCache | None, rows: int) -> DynamicCache | None:
    """A copy for so many rows: a pass adds to what it is given."""
    if opening is None:
        return None
    copied = copy.deepcopy(opening)
    copied.batch_repeat_interleave(rows)
    return copied


def read_inputs(columns: Tensor, attention: Int[Tensor, "prompt seen"], cache: Any) -> dict[str, Any]:
    """What the model is given to read these tokens, or vectors, behind those in the cache."""
    return {
        "inputs_embeds" if columns.is_floating_point() else "input_ids": columns,
        "attention_mask": attention,
        "position_ids": positions_of(attention)[:, -columns.shape[1] :],
        "past_key_values": cache,
        "use_cache": True,
    }


def _openings(model: LoadedModel, prompts: Sequence[Prompt], voices: Sequence[Voice], to_come: int) -> list[int]:
    """How many tokens of each prompt are read once for all that have them; vectors are not compared."""
    tokens = [prompt for prompt in prompts if not isinstance(prompt, Tensor)]
    none = [0] * len(prompts)
    if len(tokens) < len(prompts):
        return none
    lengths = opening_lengths(tokens, voices)
    rests = [len(prompt) - length for prompt, length in zip(tokens, lengths, strict=True)]
    # Blocks that look through a window count columns: padding behind an opening would push its tokens out too early.
    pushed = len(set(rests)) > 1 and max(lengths) + max(rests) + to_come > model.card.cache.window > 0
    return none if pushed else lengths


def _columns(model: LoadedModel, prompts: Sequence[Prompt]) -> tuple[Tensor, Int[Tensor, "prompt token"]]:
    """Tokens or vectors of all prompts, padded on the left, and their attention."""
    vectors = [prompt for prompt in prompts if isinstance(prompt, Tensor)]
    if not vectors:
        batch = batch_of(model, prompts, side="left")  # type: ignore[arg-type]
        return batch.ids, batch.attention
    assert len(vectors) == len(prompts), "tokens and vectors do not go into one batch"
    ones = [torch.ones(len(prompt), dtype=torch.long, device=model.device) for prompt in vectors]
    return tuple(pad_sequence(rows, batch_first=True, padding_side="left") for rows in (vectors, ones))  # type: ignore


def _parts(model: LoadedModel, shape: Sequence[int]) -> list[slice]:
    """Columns of the prompts that are read in one go, so that other jobs need not wait for all of them."""
    rows, columns = shape[:2]
    width = max(16, tokens_at_once(model, on_a_processor=PREFILL_TOKENS) // rows)
    return [slice(start, min(start + width, columns)) for start in range(0, columns, width)]


def _read(
    model: LoadedModel, batch: MixedBatch, columns: Tensor, attention: Int[Tensor, "prompt seen"], cache: Any
) -> Any:
    """The cache with these columns in it; no logits."""
    with torch.no_grad(), batch.active(), without_copies(model, columns):
        return model.decoder(**read_inputs(columns, attention, cache)).past_key_values
