"""Few-step fine-tuning that tries to undo the adapter, on a copy that is thrown away: the run's weights are only read.

The attacker has the weights, and some harmful requests with the base model's answers. Knows nothing of verdicts.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch

from engine.compute.evaluation.attacks.attempt import Attempt, Attempts, Options, answers
from engine.compute.model.adapters import adapted, adapter_parameters, has_adapter, remove_adapter
from engine.compute.model.generation import Ask, answered_ids
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.padding import batch_of
from engine.compute.model.text import tokens_of
from engine.compute.seeds import mix
from engine.compute.steps import told
from engine.records.chats.asked import Sampling
from engine.records.evaluation.rows import PREFILL, EvaluationRow
from engine.records.evenly import evenly
from engine.records.prompt_files import read_source

EXAMPLES = 16
BATCH = 4
LEARNING_RATE = 3e-4
ANSWER_TOKENS = 32

Pair = tuple[list[int], list[int]]


def finetuning(model: LoadedModel, adapter: str | None, rows: Sequence[EvaluationRow], options: Options) -> Attempts:
    """Train a copy of the adapter towards the base model's answers, then make the request; asked half-way and at the
    end. The budget is the optimizer steps. The base model has nothing to undo: it answers the plain request."""
    prompts = [tokens_of(model, row.conversation).ids for row in rows]
    if adapter is None:
        plain = yield from answers(model, adapter, prompts, options)
        return [[Attempt(1, p, tuple(a))] for p, a in zip(prompts, plain, strict=True)]
    pairs = yield from told(examples(model), lambda token: 0.1 * token / ANSWER_TOKENS)
    found: list[list[Attempt]] = [[] for _ in rows]
    with throw_away_copy(model, adapter) as copy:
        steps = undo(model, copy, pairs, options.budget, seed=options.seed)
        for step in range(1, options.budget + 1):
            next(steps)
            answered = sum(mark < step for mark in options.marks) / len(options.marks)
            moved = 0.1 + 0.5 * step / options.budget
            yield moved + 0.4 * answered
            if step in options.marks:
                share = partial(_share, moved + 0.4 * answered, 0.4 / len(options.marks))
                said = yield from told(answers(model, copy, prompts, options), share)
                for row, prompt, ids in zip(found, prompts, said, strict=True):
                    row.append(Attempt(step, prompt, tuple(ids), (), f"after {step} steps of fine-tuning"))
    return found


def examples(model: LoadedModel) -> Generator[int, None, list[Pair]]:
    """Requests of the sample set's training split with what the base model says after 'Sure, here is'."""
    prompts = [p for p in read_source("sample:harmful", label="harmful") if p.split == "train"]
    chosen = [prompt.conversation for prompt in evenly(prompts, EXAMPLES)]
    asked = [tokens_of(model, conversation, begun=PREFILL) for conversation in chosen]
    asks = [Ask(tokens.whole) for tokens in asked]
    said = yield from answered_ids(model, asks, Sampling(new_tokens=ANSWER_TOKENS))
    return [([*tokens.ids], [*tokens.begun, *answer]) for tokens, answer in zip(asked, said, strict=True)]


def undo(
    model: LoadedModel, copy: str, pairs: Sequence[Pair], steps: int, *, seed: int
) -> Generator[float, None, None]:
    """AdamW steps on the copy alone; yields the loss of each step, nats a token of the answers."""
    parameters = [parameter for _, parameter in adapter_parameters(model, copy)]
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=0.0)
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(mix(seed, "undo"))).tolist()
    devices = [model.device] if model.device.type == "cuda" else []
    for step in range(steps):
        group = [pairs[order[(step * BATCH + place) % len(pairs)]] for place in range(min(BATCH, len(pairs)))]
        with torch.random.fork_rng(devices=devices), adapted(model, copy, train=True):
            torch.manual_seed(mix(seed, "dropout", step))
            loss = _loss(model, group)
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        yield float(loss.detach())


@contextmanager
def throw_away_copy(model: LoadedModel, adapter: str) -> Iterator[str]:
    """Another adapter with the same weights, gone on leaving."""
    assert model.peft_model is not None
    copy = f"copy-of-{adapter}"
    while has_adapter(model, copy):
        copy += "x"
    model.peft_model.add_adapter(copy, model.peft_model.peft_config[adapter])
    try:
        originals = dict(adapter_parameters(model, adapter))
        with torch.no_grad(), adapted(model, copy):
            for name, parameter in adapter_parameters(model, copy):
                parameter.copy_(originals[name.replace(f".{copy}.", f".{adapter}.")])
        yield copy
    finally:
        remove_adapter(model, copy)


def _loss(model: LoadedModel, group: Sequence[Pair]) -> torch.Tensor:
    longest = max(len(answer) for _, answer in group)
    ids, attention, positions, *_ = batch_of(model, [prompt + answer for prompt, answer in group], side="left")
    logits = model.causal_lm(
        input_ids=ids, attention_mask=attention, position_ids=positions, use_cache=False, logits_to_keep=longest + 1
    ).logits
    wanted = ids[:, -longest:].clone()
    for index, (_, answer) in enumerate(group):
        wanted[index, : longest - len(answer)] = -100
    return torch.nn.functional.cross_entropy(logits[:, :-1].float().transpose(1, 2), wanted)


def _share(start: float, width: float, share: float) -> float:
    return start + width * share
