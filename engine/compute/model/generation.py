"""Answers, a token at a time: `generate` for a batch under one adapter or none, `answer` for rows of several voices.
The caller owns the loop, and other jobs may use the model between two tokens.
"""

from collections.abc import Generator, Sequence
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from engine.compute.model.activations import shared_tokens
from engine.compute.model.adapters import adapted
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.mixed import MixedBatch, Voice
from engine.compute.model.padding import pad_left
from engine.records.chats.chat import Sampling

# A prompt enters in parts of so many tokens, all rows together, so that a step stays short.
PREFILL_TOKENS = {"cpu": 256}
PREFILL_TOKENS_GPU = 8192

Ending = Literal["end", "length"]


def generate(
    model: LoadedModel,
    prompts: Sequence[Sequence[int]],
    *,
    new_tokens: int,
    adapter: str | None = None,
    temperature: float = 0.0,
    seed: int = 0,
) -> Generator[int, None, list[list[int]]]:
    """Continue each prompt (token ids) by at most `new_tokens`; yields the tokens so far (0 while long prompts are
    read), returns the answers.

    Rows are padded on the left; a row ends at the model's end token, which is not returned. Sampling draws from a
    generator of its own, so that it disturbs no other job's randomness.
    """
    device = model.device
    shared = shared_tokens(prompts)
    ids, attention = pad_left([prompt[shared:] for prompt in prompts], pad_id=model.tokenizer.pad_token_id or 0)
    ids, attention = ids.to(device), attention.to(device)
    ends = torch.tensor(_end_ids(model), device=device)
    randomness = torch.Generator(device=device).manual_seed(seed)
    running = torch.ones(len(prompts), dtype=torch.bool, device=device)
    answers: list[Tensor] = []
    cache: Any = None
    logits = torch.empty(0)
    if shared:
        opening = torch.tensor([prompts[0][:shared]], device=device)
        with torch.no_grad(), adapted(model, adapter):
            cache = _read(model, opening, torch.ones_like(opening), None)
        cache.batch_repeat_interleave(len(prompts))
        # What is padded then lies between the opening and the rest of a prompt; positions leave it out.
        attention = torch.cat([attention.new_ones(len(prompts), shared), attention], dim=1)
    for part in _parts(ids.shape, device):
        if part.start:
            yield 0
        seen = attention[:, : shared + part.stop]
        with torch.no_grad(), adapted(model, adapter):
            if part.stop < ids.shape[1]:
                cache = _read(model, ids[:, part], seen, cache)
            else:
                logits, cache = _next_logits(model, ids[:, part], seen, cache)
    for count in range(1, new_tokens + 1):
        token = choose(logits, temperature, randomness)
        running = running & ~torch.isin(token, ends)
        answers.append(torch.where(running, token, torch.full_like(token, -1)))
        yield count
        if count == new_tokens or not running.any():
            break
        attention = torch.cat([attention, attention.new_ones(len(prompts), 1)], dim=1)
        with torch.no_grad(), adapted(model, adapter):
            logits, cache = _next_logits(model, token[:, None], attention, cache)
    return [[int(token) for token in row if token >= 0] for row in torch.stack(answers, dim=1).tolist()]


class Ask(NamedTuple):
    """One row: what it continues, and the voice that continues it."""

    ids: Sequence[int]
    voice: Voice = Voice()


def answer(
    model: LoadedModel, asks: Sequence[Ask], sampling: Sampling
) -> Generator[list[int | None] | None, None, list[Ending]]:
    """Answer all rows in one batch over the shared weights, whatever their voices.

    Yields None while prompts are read, then for each step one token a row, None for rows that have ended; returns how
    each row ended. A row draws from a generator of its own, seeded by `sampling.seed`: it says the same in any company.
    Closing the generator frees the cache.
    """
    order = sorted(range(len(asks)), key=lambda row: _order(asks[row].voice))
    voices = [asks[row].voice for row in order]
    batch = MixedBatch(model, voices)
    ids, attention = pad_left([asks[row].ids for row in order], pad_id=model.tokenizer.pad_token_id or 0)
    ids, attention = ids.to(model.device), attention.to(model.device)
    randomness = [torch.Generator().manual_seed(sampling.seed) for _ in asks]
    ends = set(_end_ids(model))
    endings: list[Ending] = ["length"] * len(asks)
    cache: Any = None
    logits: Tensor | None = None
    for part in _parts(ids.shape, model.device):
        if part.start:
            yield None
        seen = attention[:, : part.stop]
        if part.stop < ids.shape[1]:
            with torch.no_grad(), adapted(model, None), batch.active():
                cache = _read(model, ids[:, part], seen, cache)
        else:
            logits, cache = _forward(model, batch, ids[:, part], seen, cache)
    for count in range(1, sampling.new_tokens + 1):
        assert logits is not None
        chosen = {row: _draw(logits[place], sampling, randomness[row]) for place, row in enumerate(order)}
        said: list[int | None] = [None] * len(asks)
        for row, token in chosen.items():
            if token in ends:
                endings[row] = "end"
            else:
                said[row] = token
        yield said
        going = [place for place, row in enumerate(order) if said[row] is not None]
        if not going or count == sampling.new_tokens:
            break
        if len(going) < len(order):
            order = [order[place] for place in going]
            kept = torch.tensor(going, device=model.device)
            attention = attention[kept]
            cache.batch_select_indices(kept)
            batch.keep(going)
        attention = torch.cat([attention, attention.new_ones(len(order), 1)], dim=1)
        tokens = torch.tensor([[chosen[row]] for row in order], device=model.device)
        logits, cache = _forward(model, batch, tokens, attention, cache)
    return endings


def _order(voice: Voice) -> tuple[bool, str, float]:
    """Rows of one voice lie together, the base model's first."""
    return voice.adapter is not None, voice.adapter or "", voice.dose


def _forward(
    model: LoadedModel,
    batch: MixedBatch,
    ids: Int[Tensor, "prompt token"],
    attention: Int[Tensor, "prompt seen"],
    cache: Any,
) -> tuple[Float[Tensor, "prompt vocabulary"], Any]:
    """Logits behind the last token, on the processor, and the cache with these tokens in it."""
    with torch.no_grad(), adapted(model, None), batch.active():
        logits, cache = _next_logits(model, ids, attention, cache)
    return logits.float().cpu(), cache


def _parts(shape: Sequence[int], device: torch.device) -> list[slice]:
    """Columns of the prompts that are read in one go, so that other jobs need not wait for all of them."""
    rows, columns = shape
    width = max(16, PREFILL_TOKENS.get(device.type, PREFILL_TOKENS_GPU) // rows)
    return [slice(start, min(start + width, columns)) for start in range(0, columns, width)]


def _read(
    model: LoadedModel, ids: Int[Tensor, "prompt token"], attention: Int[Tensor, "prompt seen"], cache: Any
) -> Any:
    """The cache with these tokens in it; no logits."""
    return model.decoder(**_inputs(ids, attention, cache)).past_key_values


def _next_logits(
    model: LoadedModel, ids: Int[Tensor, "prompt token"], attention: Int[Tensor, "prompt seen"], cache: Any
) -> tuple[Float[Tensor, "prompt vocabulary"], Any]:
    """Logits behind the last of these tokens, and the cache with them in it."""
    output = model.causal_lm(**_inputs(ids, attention, cache), logits_to_keep=1)
    return output.logits[:, -1], output.past_key_values


def _inputs(ids: Int[Tensor, "prompt token"], attention: Int[Tensor, "prompt seen"], cache: Any) -> dict[str, Any]:
    """What the model is given to read these tokens behind those in the cache; positions count real tokens alone."""
    positions = (attention.cumsum(-1) - 1).clamp_min(0)
    return {
        "input_ids": ids,
        "attention_mask": attention,
        "position_ids": positions[:, -ids.shape[1] :],
        "past_key_values": cache,
        "use_cache": True,
    }


def _draw(logits: Float[Tensor, " vocabulary"], sampling: Sampling, randomness: torch.Generator) -> int:
    if sampling.temperature == 0:
        return int(logits.argmax())
    probabilities = torch.softmax(logits / sampling.temperature, dim=-1)
    if sampling.top_p < 1:
        sorted_probabilities, tokens = probabilities.sort(descending=True)
        # The first token always stays: what lies before it sums to 0.
        outside = sorted_probabilities.cumsum(-1) - sorted_probabilities >= sampling.top_p
        probabilities[tokens[outside]] = 0
    return int(torch.multinomial(probabilities, 1, generator=randomness))


def choose(
    logits: Float[Tensor, "prompt vocabulary"], temperature: float, randomness: torch.Generator | None
) -> Int[Tensor, " prompt"]:
    """The next token of each row: the likeliest at temperature 0, else drawn."""
    if temperature == 0:
        return logits.argmax(-1)
    probabilities = torch.softmax(logits.float() / temperature, dim=-1)
    return torch.multinomial(probabilities, 1, generator=randomness)[:, 0]


def _end_ids(model: LoadedModel) -> list[int]:
    configured = model.causal_lm.generation_config.eos_token_id if model.causal_lm.generation_config else None
    ends = {configured} if isinstance(configured, int) else set(configured or ())
    if model.tokenizer.eos_token_id is not None:
        ends.add(model.tokenizer.eos_token_id)
    return sorted(ends)
