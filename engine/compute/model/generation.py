"""Answers, a token at a time, rows of any voices in one batch. `answer` is the one decoding loop, `answered_ids`
and `spoken` collect what it says. The caller advances it, and other jobs may use the model between two tokens.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from engine.compute.model.activations import recorded
from engine.compute.model.grouped_queries import without_copies
from engine.compute.model.harmfulness import Probe
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.mixed import MixedBatch, Voice
from engine.compute.model.reading import Prompt, read_inputs, read_prompts
from engine.compute.steps import told
from engine.compute.team import divided, where_sharded
from engine.records.chats.asked import Sampling
from engine.records.model_place import is_ours

# Letting rows go copies the cache of all others: it pays once so large a share of the batch has ended.
LEAVING_SHARE = 1 / 8
# How tokens are drawn, in the key of what was sampled: 2 since each row draws for itself. Before, what a row said
# depended on what else was asked.
DRAWS = 2

# By its end token, by the length that was asked for, or by the harmfulness probe.
Ending = Literal["end", "length", "probe"]


class Ask(NamedTuple):
    """One row: what it continues, the voice that continues it, and the seed of its own draws (None: the sampling's
    seed, so that all such rows have the same luck). probe: ends the answer at the first token where it fires.
    new_tokens: the most that this row says, at least one (None: as many as the sampling allows)."""

    prompt: Prompt
    voice: Voice = Voice()
    seed: int | None = None
    probe: Probe | None = None
    new_tokens: int | None = None


@where_sharded
def answer(
    model: LoadedModel, asks: Sequence[Ask], sampling: Sampling
) -> Generator[list[int | None] | None, None, list[Ending]]:
    """Answer all rows in one batch over the shared weights, whatever their voices.

    Prompts are all tokens or all vectors. Yields None while they are read, then for each step one token a row, None for
    rows that have ended (the model's end token is not said); returns how each row ended. The token where a row's probe
    fires is its last one; the very last of as many as were asked for is not read any more. A row draws from a generator
    of its own: it says the same in any company, and disturbs no other job's randomness. Closing the generator frees the
    cache.
    """
    order = sorted(range(len(asks)), key=lambda row: _order(asks[row].voice))
    ends = set(end_ids(model))
    endings: list[Ending | None] = [None] * len(asks)
    draws = _draws([asks[row] for row in order], sampling, model.device)
    batch, cache, attention, ahead = yield from read_prompts(
        model,
        [asks[row].prompt for row in order],
        [asks[row].voice for row in order],
        to_come=sampling.new_tokens,
    )
    logits, cache = _forward(model, batch, ahead, attention, cache)
    for count in range(1, sampling.new_tokens + 1):
        chosen = _choose(logits, sampling, draws[:, count - 1])
        said: list[int | None] = [None] * len(asks)
        for row, token in zip(order, chosen.tolist(), strict=True):
            if endings[row] is None and token in ends:
                endings[row] = "end"
            elif endings[row] is None:
                said[row] = token
        yield said
        for row in order:
            if count == asks[row].new_tokens:
                endings[row] = endings[row] or "length"
        going = [place for place, row in enumerate(order) if endings[row] is None]
        if not going or count == sampling.new_tokens:
            break
        if len(order) - len(going) >= LEAVING_SHARE * len(order):
            order = [order[place] for place in going]
            kept = torch.tensor(going, device=model.device)
            chosen, attention, draws = chosen[kept], attention[kept], draws[kept]
            cache.batch_select_indices(kept)
            batch.select(going)
        attention = torch.cat([attention, attention.new_ones(len(order), 1)], dim=1)
        with recorded(model, {probe.block for row in order if (probe := asks[row].probe)}) as outputs:
            logits, cache = _forward(model, batch, chosen[:, None], attention, cache)
        for place in _fired([asks[row].probe for row in order], outputs):
            endings[order[place]] = endings[order[place]] or "probe"
        if all(endings):
            break
    return [ending or "length" for ending in endings]


class Spoken(NamedTuple):
    """What each row said, and how it ended."""

    ids: list[list[int]]
    endings: list[Ending]


def answered_ids(
    model: LoadedModel,
    asks: Sequence[Ask],
    sampling: Sampling,
    *,
    look: Callable[[list[list[int]]], object] = lambda _: None,
) -> Generator[int, None, list[list[int]]]:
    """As `spoken`, for those who need not know how a row ended."""
    return (yield from spoken(model, asks, sampling, look=look)).ids


@divided("asks")
def spoken(
    model: LoadedModel,
    asks: Sequence[Ask],
    sampling: Sampling,
    *,
    look: Callable[[list[list[int]]], object] = lambda _: None,
) -> Generator[int, None, Spoken]:
    """As `answer`, but yields how many tokens each row could have said so far (0 while prompts are read), and returns
    the tokens that each row said. `look` is shown them as they grow: where several processes answer, those of the
    first rows, which are this one's."""
    said: list[list[int]] = [[] for _ in asks]
    steps = 0

    def collect(tokens: list[int | None] | None) -> int:
        nonlocal steps
        steps += tokens is not None
        for ids, token in zip(said, tokens or (), strict=False):
            if token is not None:
                ids.append(token)
        look(said)
        return steps

    endings = yield from told(answer(model, asks, sampling), collect)
    return Spoken(said, endings)


def _fired(probes: Sequence[Probe | None], outputs: Mapping[int, Tensor]) -> list[int]:
    """The places of rows whose probe fires at the token that was read last."""
    places: dict[Probe, list[int]] = {}
    for place, probe in enumerate(probes):
        if probe is not None:
            places.setdefault(probe, []).append(place)
    fired = []
    for probe, rows in places.items():
        above = probe.scores(outputs[probe.block][rows, -1]) > probe.threshold
        fired += [row for row, is_above in zip(rows, above.tolist(), strict=True) if is_above]
    return fired


def _order(voice: Voice) -> tuple[bool, str, float, str]:
    """Rows of one voice lie together, the base model's first."""
    return voice.adapter is not None, voice.adapter or "", voice.dose, voice.push.name if voice.push else ""


def _forward(
    model: LoadedModel, batch: MixedBatch, columns: Tensor, attention: Int[Tensor, "prompt seen"], cache: Any
) -> tuple[Float[Tensor, "prompt vocabulary"], Any]:
    """Logits behind the last of these columns, and the cache with them in it."""
    with torch.no_grad(), batch.active(), without_copies(model, columns):
        output = model.causal_lm(**read_inputs(columns, attention, cache), logits_to_keep=1)
    return output.logits[:, -1], output.past_key_values


def _draws(asks: Sequence[Ask], sampling: Sampling, device: torch.device) -> Float[Tensor, "prompt token"]:
    """Numbers from 0 to 1 for the tokens to come, from each row's own generator; not read where all is greedy."""
    if sampling.temperature == 0:
        return torch.empty((len(asks), sampling.new_tokens), device=device)
    seeds = [sampling.seed if ask.seed is None else ask.seed for ask in asks]
    draws = [torch.rand(sampling.new_tokens, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(draws).to(device)


def _choose(
    logits: Float[Tensor, "prompt vocabulary"], sampling: Sampling, draws: Float[Tensor, " prompt"]
) -> Int[Tensor, " prompt"]:
    """The next token of each row: the likeliest at temperature 0, or the one in whose share of 0 to 1 its draw lies."""
    if sampling.temperature == 0:
        return logits.argmax(-1)
    shares = torch.softmax(logits.float() / sampling.temperature, dim=-1)
    if sampling.top_p < 1:
        ordered, tokens = shares.sort(descending=True)
        # The first token always stays: what lies before it sums to 0.
        outside = ordered.cumsum(-1) - ordered >= sampling.top_p
        shares = shares.scatter(-1, tokens, ordered.masked_fill(outside, 0))
    ends = shares.cumsum(-1)
    chosen = torch.searchsorted(ends, draws[:, None] * ends[:, -1:], right=True)[:, 0]
    return chosen.clamp_max(logits.shape[-1] - 1)


def end_ids(model: LoadedModel) -> list[int]:
    """The tokens that end an answer."""
    configured = model.causal_lm.generation_config.eos_token_id if model.causal_lm.generation_config else None
    ends = {configured} if isinstance(configured, int) else set(configured or ())
    if model.tokenizer.eos_token_id is not None:
        ends.add(model.tokenizer.eos_token_id)
    if is_ours(model.spec.name) and model.tokenizer.pad_token_id is not None:
        # Where a text ends these models may say <|endoftext|>, which what they were converted from does not tell.
        ends.add(model.tokenizer.pad_token_id)
    return sorted(ends)
