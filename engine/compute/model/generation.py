"""Answers, a token at a time, rows of any voices in one batch. `answer` is the one decoding loop, `answered_ids`
and `spoken` collect what it says. The caller advances it, and other jobs may use the model between two tokens.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from engine.compute.model.activations import recorded
from engine.compute.model.grouped_queries import without_copies
from engine.compute.model.harmfulness import Probe
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.mixed import MixedBatch, Voice
from engine.compute.model.openings import opening_lengths
from engine.compute.model.padding import batch_of, positions_of
from engine.compute.model.room import tokens_at_once
from engine.compute.model.roomy_cache import roomy_cache
from engine.compute.steps import told
from engine.compute.team import divided, where_sharded
from engine.records.chats.asked import Sampling

# A prompt enters a processor in parts of so many tokens, all rows together, so that a step stays short.
PREFILL_TOKENS = 256
# Letting rows go copies the cache of all others: it pays once so large a share of the batch has ended.
LEAVING_SHARE = 1 / 8
# How tokens are drawn, in the key of what was sampled: 2 since each row draws for itself. Before, what a row said
# depended on what else was asked.
DRAWS = 2

# By its end token, by the length that was asked for, or by the harmfulness probe.
Ending = Literal["end", "length", "probe"]
# What a prompt is: tokens, or vectors in their place.
Prompt = Sequence[int] | Float[Tensor, "_ d_model"]


class Ask(NamedTuple):
    """One row: what it continues, the voice that continues it, and the seed of its own draws (None: the sampling's
    seed, so that all such rows have the same luck). probe: ends the answer at the first token where it fires."""

    prompt: Prompt
    voice: Voice = Voice()
    seed: int | None = None
    probe: Probe | None = None


class _Read(NamedTuple):
    """Prompts that have been read. attention: of all that is in the cache.  logits: behind the last token."""

    batch: MixedBatch
    attention: Int[Tensor, "prompt seen"]
    cache: Any
    logits: Float[Tensor, "prompt vocabulary"]


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
    ends = set(_end_ids(model))
    endings: list[Ending | None] = [None] * len(asks)
    draws = _draws([asks[row] for row in order], sampling, model.device)
    batch, attention, cache, logits = yield from _read_prompts(model, [asks[row] for row in order])
    for count in range(1, sampling.new_tokens + 1):
        chosen = _choose(logits, sampling, draws[:, count - 1])
        said: list[int | None] = [None] * len(asks)
        for row, token in zip(order, chosen.tolist(), strict=True):
            if endings[row] is None and token in ends:
                endings[row] = "end"
            elif endings[row] is None:
                said[row] = token
        yield said
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


def _read_prompts(model: LoadedModel, asks: Sequence[Ask]) -> Generator[None, None, _Read]:
    """Read all prompts, an opening that some share once for each voice; yields between the parts."""
    voices = [ask.voice for ask in asks]
    lengths = _openings(asks)
    columns, attention = _columns(model, [ask.prompt[length:] for ask, length in zip(asks, lengths, strict=True)])
    cache: Any = roomy_cache(model)
    # Each opening once for each voice that reads it, those of one voice together.
    read = [(voice, tuple(ask.prompt[:length])) for ask, voice, length in zip(asks, voices, lengths, strict=True)]
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
    logits, cache = _forward(model, batch, columns[:, last], attention, cache)
    return _Read(batch, attention, cache, logits)


def _openings(asks: Sequence[Ask]) -> list[int]:
    """How many tokens of each prompt are read once for all that have them; vectors are not compared."""
    prompts = [ask.prompt for ask in asks if not isinstance(ask.prompt, Tensor)]
    if len(prompts) < len(asks):
        return [0] * len(asks)
    return opening_lengths(prompts, [ask.voice for ask in asks])


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
        return model.decoder(**_inputs(columns, attention, cache)).past_key_values


def _forward(
    model: LoadedModel, batch: MixedBatch, columns: Tensor, attention: Int[Tensor, "prompt seen"], cache: Any
) -> tuple[Float[Tensor, "prompt vocabulary"], Any]:
    """Logits behind the last of these columns, and the cache with them in it."""
    with torch.no_grad(), batch.active(), without_copies(model, columns):
        output = model.causal_lm(**_inputs(columns, attention, cache), logits_to_keep=1)
    return output.logits[:, -1], output.past_key_values


def _inputs(columns: Tensor, attention: Int[Tensor, "prompt seen"], cache: Any) -> dict[str, Any]:
    """What the model is given to read these tokens, or vectors, behind those in the cache."""
    return {
        "inputs_embeds" if columns.is_floating_point() else "input_ids": columns,
        "attention_mask": attention,
        "position_ids": positions_of(attention)[:, -columns.shape[1] :],
        "past_key_values": cache,
        "use_cache": True,
    }


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


def _end_ids(model: LoadedModel) -> list[int]:
    configured = model.causal_lm.generation_config.eos_token_id if model.causal_lm.generation_config else None
    ends = {configured} if isinstance(configured, int) else set(configured or ())
    if model.tokenizer.eos_token_id is not None:
        ends.add(model.tokenizer.eos_token_id)
    return sorted(ends)
