"""Kept abilities that are not a matter of attacks: multiple-choice questions, and the speed of answering.

Knows nothing of where questions come from.
"""

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor

from engine.compute.model.adapters import adapted
from engine.compute.model.generation import Ask, answered_ids
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.mixed import Voice
from engine.compute.model.padding import batch_of
from engine.compute.model.room import by_halves, logit_bytes, tokens_at_once
from engine.compute.model.scoring import answer_nats
from engine.compute.model.text import common_opening, text_ids, tokens_of
from engine.compute.steps import told
from engine.compute.team import divided
from engine.records.chats.asked import Sampling
from engine.records.conversation import Conversation
from engine.records.errors import ModelError
from engine.records.evaluation.mmlu import LETTERS, Question
from engine.records.evaluation.olmo import Choice
from engine.records.evaluation.rows import EvaluationRow
from engine.records.room import reading_bytes

# Of a processor, in one pass.
QUESTION_TOKENS = 1024
# Questions whose answers are scored before progress is told.
CHOICES_AT_ONCE = 8
SPEED_ROWS = 8
SPEED_TOKENS = 32
ASK = "Answer with the letter of the right choice.\n\n"
BEGUN = "The answer is"


def multiple_choice(
    model: LoadedModel, adapter: str | None, questions: Sequence[Question]
) -> Generator[int, None, list[bool]]:
    """Whether each question has the right letter as the likeliest of the four; yields how many are done."""
    asked = [Conversation.asking(ASK + question.text) for question in questions]
    found = yield from chosen_words(model, adapter, asked, begun=BEGUN, words=LETTERS)
    return [LETTERS[place] == question.answer for place, question in zip(found, questions, strict=True)]


def likeliest_answers(
    model: LoadedModel, adapter: str | None, questions: Sequence[Choice]
) -> Generator[int, None, list[bool]]:
    """Whether each question has the right answer as the likeliest of those given, by nats a letter, so that a long one
    is none the worse for it; yields how many questions are done."""
    right: list[bool] = []
    for start in range(0, len(questions), CHOICES_AT_ONCE):
        group = questions[start : start + CHOICES_AT_ONCE]
        tokens = [
            tokens_of(model, Conversation.asking(one.question), begun=answer) for one in group for answer in one.answers
        ]
        steps = answer_nats(model, [one.ids for one in tokens], [one.begun for one in tokens], voice=Voice(adapter))
        nats = iter((yield from told(steps, lambda _: len(right))))
        for one in group:
            scores = [sum(next(nats)) / max(1, len(answer)) for answer in one.answers]
            right.append(min(range(len(scores)), key=scores.__getitem__) == one.right)
        yield len(right)
    return right


@divided("conversations")
def chosen_words(
    model: LoadedModel, adapter: str | None, conversations: Sequence[Conversation], *, begun: str, words: Sequence[str]
) -> Generator[int, None, list[int]]:
    """Which of some words is the likeliest to follow `begun`, by its place, for each conversation; yields how many are
    done. Raises ModelError where the tokenizer begins two of them with the same token."""
    heads = _first_tokens(model, words)
    rows = []
    for conversation in conversations:
        rows.append(tokens_of(model, conversation, begun=begun).whole)
        if conversation.pictures:
            # Each is read from its file: others get their turn between.
            yield 0
    # The longest first: a pass is as large as its longest row makes it.
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]), reverse=True)
    found = [0] * len(rows)
    done = 0

    def chosen(group: Sequence[int]) -> Generator[int, None, list[int]]:
        ids, attention, positions, *_ = batch_of(model, [rows[index] for index in group], side="left")
        with torch.no_grad(), adapted(model, adapter), _read_by_the_head(model) as read:
            model.causal_lm(
                input_ids=ids, attention_mask=attention, position_ids=positions, use_cache=False, logits_to_keep=1
            )
        choices = _told_apart(model, read[-1][:, -1], heads).argmax(-1).tolist()
        yield done + len(group)
        return choices

    while order:
        count = max(1, tokens_at_once(model, on_a_processor=QUESTION_TOKENS) // len(rows[order[0]]))
        group, order = order[:count], order[count:]
        row_bytes = reading_bytes(model.card, len(rows[group[0]])) + logit_bytes(model, 1)
        choices = yield from by_halves(model, group, chosen, row_bytes=row_bytes)
        for choice, index in zip(choices, group, strict=True):
            found[index] = choice
        done += len(group)
    return found


@contextmanager
def _read_by_the_head(model: LoadedModel) -> Iterator[list[Float[Tensor, "prompt token d_model"]]]:
    """What the head is given, pass by pass."""
    read: list[Tensor] = []
    hook = model.causal_lm.get_output_embeddings().register_forward_pre_hook(lambda _, given: read.append(given[0]))
    try:
        yield read
    finally:
        hook.remove()


def _told_apart(
    model: LoadedModel, activations: Float[Tensor, "prompt d_model"], tokens: Sequence[int]
) -> Float[Tensor, "prompt word"]:
    """What the head makes of a few tokens, in float32: rounded to bfloat16 the logits of two letters are often the
    same, and the first letter would be chosen. What some families change behind the head keeps their order."""
    head = model.causal_lm.get_output_embeddings()
    bias = None if head.bias is None else head.bias[tokens].float()
    return torch.nn.functional.linear(activations.float(), head.weight[tokens].float(), bias)


def _first_tokens(model: LoadedModel, words: Sequence[str]) -> list[int]:
    """The token that tells each word from the others, as it follows a text: some tokenizers write a space apart."""
    ids = [text_ids(model, f" {word}") for word in words]
    shared = min(common_opening(ids[0], other) for other in ids[1:])
    heads = [one[shared] for one in ids if len(one) > shared]
    if len(set(heads)) < len(words):
        raise ModelError(f"The tokenizer of {model.spec.name} begins two of these words alike: {', '.join(words)}.")
    return heads


def tokens_per_second(
    model: LoadedModel, adapter: str | None, rows: Sequence[EvaluationRow]
) -> Generator[int, None, float]:
    """New tokens a second of a batch of rows, those of ended rows left out; time that other jobs take between tokens is
    not counted."""
    prompts = [tokens_of(model, rows[index % len(rows)].conversation).ids for index in range(SPEED_ROWS)]
    asks = [Ask(prompt, Voice(adapter)) for prompt in prompts]
    seconds: list[float] = []
    counts: list[int] = []

    @contextmanager
    def timed() -> Iterator[None]:
        started = time.perf_counter()
        yield
        seconds.append(time.perf_counter() - started)

    def note(count: int) -> int:
        counts.append(count)
        return count

    answers = yield from told(answered_ids(model, asks, Sampling(new_tokens=SPEED_TOKENS)), note, within=timed)
    # The first token reads the whole prompt: that is another speed.
    spent = sum(step for step, count in zip(seconds, counts, strict=False) if count > 1)
    return sum(max(0, len(answer) - 1) for answer in answers) / spent if spent else 0.0
