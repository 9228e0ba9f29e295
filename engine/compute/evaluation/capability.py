"""Kept abilities that are not a matter of attacks: multiple-choice questions, and the speed of answering.

Knows nothing of where questions come from.
"""

import time
from collections.abc import Generator, Sequence
from typing import NamedTuple

import torch

from engine.compute.model.adapters import adapted
from engine.compute.model.generation import generate
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.padding import left_padded
from engine.compute.model.text import text_ids, tokens_of
from engine.records.conversation import Conversation
from engine.records.evaluation.mmlu import LETTERS, Question
from engine.records.evaluation.rows import EvaluationRow

QUESTION_TOKENS = 1024
SPEED_ROWS = 8
SPEED_TOKENS = 32
ASK = "Answer with the letter of the right choice.\n\n"
BEGUN = "The answer is"


class Answered(NamedTuple):
    correct: int
    n: int


def multiple_choice(
    model: LoadedModel, adapter: str | None, questions: Sequence[Question]
) -> Generator[int, None, Answered]:
    """How many questions have the right letter as the likeliest of the four; yields how many are done."""
    letters = [text_ids(model, f" {letter}")[-1] for letter in LETTERS]
    asked = (Conversation.asking(ASK + question.text) for question in questions)
    rows = [tokens_of(model, conversation, begun=BEGUN).whole for conversation in asked]
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    correct = done = 0
    while order:
        count = max(1, QUESTION_TOKENS // len(rows[order[0]]))
        group, order = order[:count], order[count:]
        ids, attention, positions = left_padded(
            [rows[index] for index in group], pad_id=model.tokenizer.pad_token_id or 0, device=model.device
        )
        with torch.no_grad(), adapted(model, adapter):
            logits = model.causal_lm(
                input_ids=ids, attention_mask=attention, position_ids=positions, use_cache=False, logits_to_keep=1
            ).logits[:, -1]
        chosen = logits[:, letters].argmax(-1).tolist()
        correct += sum(LETTERS[choice] == questions[index].answer for choice, index in zip(chosen, group, strict=True))
        done += len(group)
        yield done
    return Answered(correct, len(rows))


def tokens_per_second(
    model: LoadedModel, adapter: str | None, rows: Sequence[EvaluationRow]
) -> Generator[int, None, float]:
    """New tokens a second of a batch of rows, those of ended rows left out; time that other jobs take between tokens is
    not counted."""
    prompts = [tokens_of(model, rows[index % len(rows)].conversation).ids for index in range(SPEED_ROWS)]
    steps = generate(model, prompts, new_tokens=SPEED_TOKENS, adapter=adapter)
    tokens, seconds = 0, 0.0
    while True:
        started = time.perf_counter()
        try:
            count = next(steps)
        except StopIteration as end:
            tokens = sum(max(0, len(answer) - 1) for answer in end.value)
            break
        if count > 1:
            # The first token reads the whole prompt: that is another speed.
            seconds += time.perf_counter() - started
        yield count
    return tokens / seconds if seconds else 0.0
