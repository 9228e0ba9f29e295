"""GCG: a suffix of words, changed one token at a time to where the gradient promises most.

Candidates are drawn and filtered by nanogcg's own functions; the loop is ours, so that it can give way between batches.
Source: Zou et al. 2023 (arXiv:2307.15043). Knows nothing of verdicts.
"""

from collections.abc import Callable, Generator, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from engine.compute.evaluation.attacks.attempt import (
    CANDIDATES_ON_A_PROCESSOR,
    Attempt,
    Attempts,
    Options,
    answers,
)
from engine.compute.evaluation.attacks.targets import (
    embedding_table,
    scaled,
    target_ids,
    target_loss,
)
from engine.compute.model.harmfulness import Probe
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.reading import embed, read_before
from engine.compute.model.room import by_halves, logit_bytes, rows_at_once
from engine.compute.model.text import decode, ids_around, text_ids, tokens_of
from engine.compute.seeds import mix
from engine.compute.steps import told
from engine.records.evaluation.needed import need_nanogcg
from engine.records.evaluation.rows import EvaluationRow
from engine.records.room import reading_bytes

START = " x" * 20
CANDIDATE_BATCH = 128
CANDIDATE_BATCH_ON_A_PROCESSOR = 4
TOP = 256
# The share of a row's time that goes into its search, answers being the rest.
SEARCH = 0.9


class WordSuffixes(NamedTuple):
    """suffixes: the best one after so many steps.  losses: the best loss after each step, first the start's."""

    suffixes: dict[int, list[int]]
    losses: list[float]


def gcg(model: LoadedModel, adapter: str | None, rows: Sequence[EvaluationRow], options: Options) -> Attempts:
    """A suffix for each request, answered half-way and at the end; the budget is the steps of its search."""
    library = _nanogcg()
    found: list[list[Attempt]] = []
    for place, row in enumerate(rows):
        seed = mix(options.seed, row.prompt)
        steps = optimise(
            model,
            adapter,
            row,
            options.marks,
            seed=seed,
            library=library,
            probe=options.probe,
            count=options.candidates,
        )
        best = yield from told(steps, partial(_searched, place, len(rows), options.budget))
        # Behind the request: alone, some tokenizers drop the space before its first word.
        begun = text_ids(model, row.prompt)
        asked = {step: f"{row.prompt}{decode(model, suffix, begun=begun)}" for step, suffix in best.suffixes.items()}
        prompts = [tokens_of(model, row.worded(text)).ids for text in asked.values()]
        said = yield from told(answers(model, adapter, prompts, options), partial(_answered, place, len(rows)))
        found.append(
            [
                Attempt(step, prompt, tuple(answer), (), text)
                for (step, text), prompt, answer in zip(asked.items(), prompts, said, strict=True)
            ]
        )
    return found


def optimise(
    model: LoadedModel,
    adapter: str | None,
    row: EvaluationRow,
    marks: Sequence[int],
    *,
    seed: int,
    library: Any,
    probe: Probe | None = None,
    count: int = CANDIDATES_ON_A_PROCESSOR,
) -> Generator[int, None, WordSuffixes]:
    """Search for as many steps as the last mark says; yields the steps done, also between batches of candidates.

    count: of candidates a step.
    """
    before, after = (embed(model, ids) for ids in ids_around(model, row.conversation))
    target = target_ids(model, row)
    opening = read_before(model, adapter, before)
    loss_of = partial(target_loss, model, adapter, before, after=after, target=target, opening=opening, probe=probe)
    ids = torch.tensor(text_ids(model, START), device=model.device)
    best = float(loss_of(suffixes=embed(model, ids.tolist())[None])[0])
    losses, kept = [best], {}
    for step in range(max(marks)):
        gradient = token_gradient(model, ids, loss_of)
        yield step
        candidates = _candidates(model, ids, gradient, seed=mix(seed, step), library=library, count=count)
        start = 0
        while start < len(candidates):
            tokens = len(before) + len(ids) + len(after) + len(target)
            row_bytes = reading_bytes(model.card, tokens) + logit_bytes(model, len(target) + 1)
            size = rows_at_once(model, row_bytes, on_a_processor=CANDIDATE_BATCH_ON_A_PROCESSOR, most=CANDIDATE_BATCH)
            group = list(candidates[start : start + size])
            losses_of = partial(_losses, model, loss_of, step)
            found = yield from by_halves(model, group, losses_of, row_bytes=row_bytes)
            place = min(range(len(found)), key=found.__getitem__)
            if found[place] < best:
                best, ids = found[place], group[place]
            start += len(group)
        losses.append(best)
        if step + 1 in marks:
            kept[step + 1] = ids.tolist()
    return WordSuffixes(kept, losses)


def _losses(
    model: LoadedModel,
    loss_of: Callable[..., Float[Tensor, " suffix"]],
    step: int,
    group: Sequence[Int[Tensor, " token"]],
) -> Generator[int, None, list[float]]:
    with torch.no_grad():
        losses = loss_of(suffixes=scaled(model, embedding_table(model)[torch.stack(list(group))])).tolist()
    yield step
    return losses


def token_gradient(
    model: LoadedModel, ids: Int[Tensor, " token"], loss_of: Callable[..., Float[Tensor, " suffix"]]
) -> Float[Tensor, "token vocabulary"]:
    """By how much the target's loss would change for each token in each place, to first order."""
    table = embedding_table(model)
    chosen = torch.nn.functional.one_hot(ids, len(table)).to(table.dtype).requires_grad_(True)
    loss = loss_of(suffixes=scaled(model, chosen @ table)[None])[0]
    return torch.autograd.grad(loss, chosen)[0]


def _candidates(
    model: LoadedModel, ids: Int[Tensor, " token"], gradient: Tensor, *, seed: int, library: Any, count: int
) -> Int[Tensor, "candidate token"]:
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        drawn = library.sample_ids_from_grad(
            ids,
            gradient.clone(),
            count,
            topk=min(TOP, gradient.shape[1] // 2),
            not_allowed_ids=_unprintable(model, gradient.shape[1]),
        )
    try:
        return library.filter_ids(drawn, model.tokenizer)
    except RuntimeError:
        # None of them survives being written and read again: it stays as it is, and the next step draws others.
        return ids[None]


def _unprintable(model: LoadedModel, rows: int) -> Tensor:
    """Of so many rows of the table those that no one can type, and those that no token has."""
    unprintable = (index for index in _unprintable_ids(model.tokenizer) if index < rows)
    return torch.tensor([*unprintable, *range(len(model.tokenizer), rows)], device=model.device)


@lru_cache(maxsize=2)
def _unprintable_ids(tokenizer: Any) -> tuple[int, ...]:
    """Tokens that no one can type; special ones among them, which are left out where the suffix is read as text."""
    added = getattr(tokenizer, "added_tokens_decoder", {})
    special = {*tokenizer.all_special_ids, *(index for index, token in added.items() if token.special)}
    texts = ((index, tokenizer.decode([index])) for index in range(len(tokenizer)))
    return tuple(
        index
        for index, text in texts
        if index in special or not (text.isascii() and text.isprintable()) or "<|" in text
    )


def _nanogcg() -> Any:
    need_nanogcg()
    from nanogcg import gcg as library

    return library


def _searched(place: int, rows: int, budget: int, step: int) -> float:
    return (place + SEARCH * step / max(1, budget)) / rows


def _answered(place: int, rows: int, share: float) -> float:
    return (place + SEARCH + (1 - SEARCH) * share) / rows
