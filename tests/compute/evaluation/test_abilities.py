"""Kept abilities: the letter that a model prefers, and its speed."""

import itertools
from collections.abc import Iterator

import pytest
import torch
from making import asked_ids, drain

from engine.compute.evaluation import capability
from engine.compute.evaluation.capability import chosen_words, multiple_choice, tokens_per_second
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.text import text_ids
from engine.records.conversation import Conversation
from engine.records.evaluation.mmlu import LETTERS, Question, read_questions
from engine.records.evaluation.rows import EvaluationRow
from engine.records.settings import Settings


@pytest.mark.parametrize("letter", LETTERS)
def test_questions_count_as_right_whose_letter_the_model_prefers(letter: str, tiny_model: LoadedModel):
    questions = [Question("letters", f"Question {n}?\nA. a\nB. b\nC. c\nD. d", LETTERS[n % 4]) for n in range(10)]

    head = tiny_model.causal_lm.get_output_embeddings()
    with torch.no_grad():
        head.weight[text_ids(tiny_model, f" {letter}")[-1]] = 100
    handle = head.register_forward_pre_hook(lambda _module, given: (torch.ones_like(given[0]),))
    told, answered = drain(multiple_choice(tiny_model, None, questions))
    handle.remove()
    assert answered == [question.answer == letter for question in questions]
    assert told == sorted(told) and told[-1] == 10


def test_letters_whose_logits_round_alike_are_told_apart(tiny_model: LoadedModel):
    model = tiny_model.causal_lm.to(torch.bfloat16)
    head = model.get_output_embeddings()
    first, second = (text_ids(tiny_model, f" {word}")[-1] for word in "AB")
    found, rounded = [], []
    head.register_forward_pre_hook(lambda _module, given: (torch.ones_like(given[0]),))
    model.register_forward_hook(lambda _module, _given, out: rounded.append(out.logits[0, -1].tolist()))
    for change in (1 + 2**-7, 1 - 2**-7):
        with torch.no_grad():
            head.weight[[first, second]] = 1.0
            head.weight[second, 3] = change
        _, [place] = drain(chosen_words(tiny_model, None, [Conversation.asking("Say it.")], begun="Kind:", words="AB"))
        found.append(place)
    assert found == [1, 0]
    assert all(logits[first] == logits[second] for logits in rounded)


def test_the_development_questions_of_mmlu_are_whole(settings: Settings):
    questions = read_questions(settings)
    assert len(questions) == 281 and len({question.subject for question in questions}) == 57
    assert all(f"\n{letter}. " in question.text for question in questions for letter in LETTERS)
    assert {question.answer for question in questions} == set(LETTERS)
    # The worked reasoning would give the answer away.
    assert not any("answer is" in question.text.lower().partition("\na. ")[2] for question in questions)
    assert len(read_questions(settings, limit=40)) == 40


def test_speed_counts_the_tokens_of_rows_that_go_on(tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch):
    def two_of_eight_go_on(_model, asks, _sampling) -> Iterator[int]:
        assert [list(ask.prompt) for ask in asks] == [asked_ids(tiny_model, "Say abc.")] * 8
        yield from range(1, 5)
        return [[1]] * 6 + [[1] * 4] * 2

    ticks = itertools.count()
    monkeypatch.setattr(capability, "answered_ids", two_of_eight_go_on)
    monkeypatch.setattr(capability.time, "perf_counter", lambda: next(ticks))
    _, speed = drain(tokens_per_second(tiny_model, None, [EvaluationRow(Conversation.asking("Say abc."))]))
    # Six tokens after the first ones, in three steps of one tick.
    assert speed == 2.0
