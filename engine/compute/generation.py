"""Answers, a token at a time, for a batch of prompts under one adapter or none. The caller owns the loop."""

from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from engine.compute.models import LoadedModel, adapted

Given = TypeVar("Given")
Told = TypeVar("Told")
Result = TypeVar("Result")


def generate(
    model: LoadedModel,
    prompts: Sequence[Sequence[int]],
    *,
    new_tokens: int,
    adapter: str | None = None,
    temperature: float = 0.0,
    seed: int = 0,
) -> Generator[int, None, list[list[int]]]:
    """Continue each prompt (token ids) by at most `new_tokens`; yields the tokens so far, returns the answers.

    Rows are padded on the left; a row ends at the model's end token, which is not returned. Sampling draws from a
    generator of its own, so that it disturbs no other job's randomness.
    """
    device = model.device
    ids, attention = _pad_left(prompts, pad_id=model.tokenizer.pad_token_id or 0)
    ids, attention = ids.to(device), attention.to(device)
    ends = torch.tensor(_end_ids(model), device=device)
    randomness = torch.Generator(device=device).manual_seed(seed)
    running = torch.ones(len(prompts), dtype=torch.bool, device=device)
    answers: list[Tensor] = []
    cache = None
    for count in range(1, new_tokens + 1):
        positions = (attention.cumsum(-1) - 1).clamp_min(0)
        with torch.no_grad(), adapted(model, adapter):
            output = model.causal_lm(
                input_ids=ids,
                attention_mask=attention,
                position_ids=positions[:, -ids.shape[1] :],
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
        cache = output.past_key_values
        token = _choose(output.logits[:, -1], temperature, randomness)
        running = running & ~torch.isin(token, ends)
        answers.append(torch.where(running, token, torch.full_like(token, -1)))
        yield count
        if not running.any():
            break
        ids = token[:, None]
        attention = torch.cat([attention, attention.new_ones(len(prompts), 1)], dim=1)
    return [[int(token) for token in row if token >= 0] for row in torch.stack(answers, dim=1).tolist()]


def told(steps: Generator[Given, None, Result], tell: Callable[[Given], Told]) -> Generator[Told, None, Result]:
    """Advance `steps`, yield what `tell` makes of each thing it yields, and return what it returns."""
    while True:
        try:
            given = next(steps)
        except StopIteration as end:
            return end.value
        yield tell(given)


def _choose(logits: Float[Tensor, "prompt vocabulary"], temperature: float, randomness: torch.Generator) -> Tensor:
    if temperature == 0:
        return logits.argmax(-1)
    probabilities = torch.softmax(logits.float() / temperature, dim=-1)
    return torch.multinomial(probabilities, 1, generator=randomness)[:, 0]


def _pad_left(
    prompts: Sequence[Sequence[int]], *, pad_id: int
) -> tuple[Int[Tensor, "prompt token"], Int[Tensor, "prompt token"]]:
    longest = max(len(prompt) for prompt in prompts)
    ids = torch.full((len(prompts), longest), pad_id, dtype=torch.long)
    attention = torch.zeros_like(ids)
    for index, prompt in enumerate(prompts):
        ids[index, longest - len(prompt) :] = torch.tensor(prompt, dtype=torch.long)
        attention[index, longest - len(prompt) :] = 1
    return ids, attention


def _end_ids(model: LoadedModel) -> list[int]:
    configured = model.causal_lm.generation_config.eos_token_id if model.causal_lm.generation_config else None
    ends = {configured} if isinstance(configured, int) else set(configured or ())
    if model.tokenizer.eos_token_id is not None:
        ends.add(model.tokenizer.eos_token_id)
    return sorted(ends)
