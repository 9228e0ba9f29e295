"""Answers of several voices in one batch: the same as each alone; stopping frees what was held."""

import gc
import weakref
from dataclasses import replace

import pytest
import torch
from making import drain

from engine.compute.model import generation, reading
from engine.compute.model.adapters import adapted, adapter_parameters, attach_adapter
from engine.compute.model.generation import Ask, answer
from engine.compute.model.mixed import Voice
from engine.records.chats.asked import Sampling
from engine.records.spec_parts import AdapterSpec

PROMPTS = [[1, 2, 3], [4, 5, 6, 7, 8, 9, 10], [11], list(range(40, 75))]
GREEDY = Sampling(new_tokens=12)
DRAWN = Sampling(new_tokens=12, temperature=1.0, top_p=0.9, seed=7)


@pytest.fixture
def model(tiny_model):
    attach_adapter(tiny_model, "first", AdapterSpec(rank=4, noise=1.0), [0, 1], seed=0)
    attach_adapter(tiny_model, "second", AdapterSpec(rank=4, noise=1.0), [1], seed=1)
    return tiny_model


def asks():
    """Rows of three voices and four lengths, in no order."""
    voices = [Voice("second"), Voice(), Voice("first"), Voice("first", 0.5), Voice()]
    return [Ask(prompt, voice) for prompt in PROMPTS for voice in voices]


def said(model, asked, sampling):
    steps, endings = drain(answer(model, asked, sampling))
    answers = [[step[row] for step in steps if step and step[row] is not None] for row in range(len(asked))]
    return answers, endings


def transformers_answer(model, prompt):
    """Twelve greedy tokens of transformers' own loop, under whatever adapter is on."""
    ids = torch.tensor([list(prompt)])
    output = model.causal_lm.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False, eos_token_id=9999
    )
    return output[0, ids.shape[1] :].tolist()


@pytest.mark.parametrize("sampling", [GREEDY, DRAWN], ids=["greedy", "sampled"])
def test_a_mixed_batch_says_what_each_row_says_alone(model, sampling):
    together, endings = said(model, asks(), sampling)
    assert together == [said(model, [ask], sampling)[0][0] for ask in asks()]
    assert endings == ["length"] * len(together)
    assert len({tuple(ids) for ids in together}) > 10


def test_each_voice_says_what_peft_says_alone(model):
    for voice in (Voice(), Voice("first"), Voice("second")):
        together, _ = said(model, [Ask(prompt, voice) for prompt in PROMPTS], GREEDY)
        with adapted(model, voice.adapter):
            assert together == [transformers_answer(model, prompt) for prompt in PROMPTS]


def test_an_opening_that_all_share_is_read_once_for_each_voice(model):
    opening = list(range(20, 34))
    asked = [Ask([*opening, *ask.prompt], ask.voice) for ask in asks() if len(ask.prompt) < 20]
    together, read = said_and_read(model, asked)
    assert read[0] == (4, 14) and all(rows == len(asked) for rows, _ in read[1:])
    assert together == [said(model, [ask], GREEDY)[0][0] for ask in asked]


@pytest.mark.parametrize("sampling", [GREEDY, DRAWN], ids=["greedy", "sampled"])
def test_openings_that_some_rows_share_are_read_once_for_each_voice(model, sampling):
    """As requests that offer the same tools do: two openings of unlike length, and a row that shares neither."""
    openings = [list(range(20, 60)), list(range(30, 85))]
    asked = [
        Ask([*opening, *prompt], voice)
        for prompt in ([1, 2], [4, 5, 6, 7, 8, 9], [11])
        for opening in openings
        for voice in (Voice("first"), Voice())
    ]
    asked.append(Ask([7, 7, 7], Voice("second")))
    together, read = said_and_read(model, asked, sampling)
    # Two openings for each of two voices, and nothing of the row that shares neither.
    assert read[:2] == [(5, 51), (5, 4)] and all(rows == len(asked) for rows, _ in read[2:])
    assert together == [said(model, [ask], sampling)[0][0] for ask in asked]


def said_and_read(model, asked, sampling=GREEDY):
    """What is said, and the shapes of all that the model reads for it."""
    read = []
    hook = model.decoder.register_forward_pre_hook(
        lambda _module, _args, given: read.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    try:
        return said(model, asked, sampling)[0], read
    finally:
        hook.remove()


@pytest.mark.parametrize("sampling", [GREEDY, DRAWN], ids=["greedy", "sampled"])
def test_vectors_in_place_of_tokens_are_answered_the_same(model, sampling):
    table = model.causal_lm.get_input_embeddings().weight.detach()
    vectors = [ask._replace(prompt=table[torch.tensor(list(ask.prompt))]) for ask in asks()]
    assert said(model, vectors, sampling) == said(model, asks(), sampling)


def test_a_seed_of_its_own_decides_a_rows_draws(model):
    one, other, shared = said(model, [Ask(PROMPTS[0], seed=seed) for seed in (1, 2, None)], DRAWN)[0]
    assert len({tuple(one), tuple(other), tuple(shared)}) == 3
    assert said(model, [Ask(PROMPTS[1], seed=3), Ask(PROMPTS[0], seed=2)], DRAWN)[0][1] == other


def test_draws_follow_the_probabilities_within_top_p():
    """Probabilities .5 .3 .2 at temperature 1; top_p .6 leaves the first two, at 5/8 and 3/8."""
    logits = torch.tensor([[0.5, 0.3, 0.2]]).log().repeat(8, 1)
    draws = torch.tensor([0.0, 0.3, 0.49, 0.51, 0.62, 0.63, 0.81, 0.99])
    sampling = Sampling(temperature=1.0)
    assert generation._choose(logits, sampling, draws).tolist() == [0, 0, 0, 1, 1, 1, 2, 2]
    narrow = sampling.model_copy(update={"top_p": 0.6})
    assert generation._choose(logits, narrow, draws).tolist() == [0, 0, 0, 0, 0, 1, 1, 1]


def test_many_rows_that_end_leave_together(model, monkeypatch):
    """Of twenty rows none leaves before three have ended; what they would go on to say is not said."""
    unended, _ = said(model, asks(), GREEDY)
    monkeypatch.setattr(generation, "end_ids", lambda _: [unended[2][3]])
    sizes = []
    inner = generation._forward

    def watched(*arguments):
        sizes.append(len(arguments[2]))
        return inner(*arguments)

    monkeypatch.setattr(generation, "_forward", watched)
    steps, _ = drain(answer(model, asks(), GREEDY))
    going = [sum(token is not None for token in step) for step in steps if step]
    assert all(0 <= rows - said < max(1, rows / 8) for rows, said in zip(sizes[1:], going, strict=False))
    assert len(set(sizes)) > 1


def test_the_end_of_a_text_ends_the_answer_of_a_packaged_model(model):
    """Of others their own files say what ends them."""
    end, pad = model.tokenizer.eos_token_id, model.tokenizer.pad_token_id
    assert pad is not None and generation.end_ids(model) == [end] != [pad]
    packaged = model.spec.model_copy(update={"name": "packaged/Qwen2.5-Coder-0.5B-Instruct"})
    assert generation.end_ids(replace(model, spec=packaged)) == sorted({end, pad})


def test_rows_that_end_leave_the_batch_and_change_no_other(model, monkeypatch):
    unended, _ = said(model, asks(), GREEDY)
    end = unended[2][3]
    monkeypatch.setattr(generation, "end_ids", lambda _: [end])
    answers, endings = said(model, asks(), GREEDY)
    expected = [ids[: ids.index(end)] if end in ids else ids for ids in unended]
    assert answers == expected
    assert endings == ["end" if end in ids else "length" for ids in unended]
    assert 0 < endings.count("end") < len(endings)


def test_a_long_prompt_is_read_in_parts_and_says_the_same(model, monkeypatch):
    whole, _ = said(model, [Ask(PROMPTS[3]), Ask(PROMPTS[0], Voice("first"))], GREEDY)
    monkeypatch.setattr(reading, "PREFILL_TOKENS", 32)
    steps, _ = drain(answer(model, [Ask(PROMPTS[3]), Ask(PROMPTS[0], Voice("first"))], GREEDY))
    assert steps[:2] == [None, None] and steps[2] is not None
    assert [[step[row] for step in steps if step] for row in range(2)] == whole


def test_the_seed_decides_the_draw_and_columns_share_their_luck(model):
    one, _ = said(model, [Ask(PROMPTS[0]), Ask(PROMPTS[0])], DRAWN)
    assert one[0] == one[1]
    assert said(model, [Ask(PROMPTS[0])], DRAWN)[0][0] == one[0]
    assert said(model, [Ask(PROMPTS[0])], DRAWN.model_copy(update={"seed": 8}))[0][0] != one[0]


def test_a_small_top_p_leaves_the_likeliest_token_alone(model):
    narrow = Sampling(new_tokens=12, temperature=2.0, top_p=1e-6)
    assert said(model, asks(), narrow) == said(model, asks(), GREEDY)


def test_stopping_frees_the_cache(model, monkeypatch):
    held = []
    inner = generation._forward

    def watched(*arguments):
        logits, cache = inner(*arguments)
        held.append(weakref.ref(cache))
        return logits, cache

    monkeypatch.setattr(generation, "_forward", watched)
    steps = answer(model, asks(), GREEDY)
    next(token for token in steps if token is not None)
    gc.collect()
    assert held[-1]() is not None
    steps.close()
    gc.collect()
    assert all(reference() is None for reference in held)


def test_other_jobs_may_use_the_model_between_two_tokens(model):
    expected, _ = said(model, asks(), GREEDY)
    steps, others = answer(model, asks(), GREEDY), []
    found = []
    for step in steps:
        found.append(step)
        with torch.no_grad(), adapted(model, "first"):
            others.append(model.causal_lm(input_ids=torch.tensor([PROMPTS[1]])).logits)
    assert [[step[row] for step in found if step and step[row] is not None] for row in range(20)] == expected
    assert all(torch.equal(other, others[0]) for other in others)


def test_an_exception_in_a_step_leaves_the_model_as_it_was(model, monkeypatch):
    with torch.no_grad():
        before = model.causal_lm(input_ids=torch.tensor([PROMPTS[1]])).logits
    steps = answer(model, asks(), GREEDY)
    next(steps)
    monkeypatch.setattr(type(model.blocks[1].mlp), "forward", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        drain(steps)
    monkeypatch.undo()
    with torch.no_grad():
        assert torch.equal(model.causal_lm(input_ids=torch.tensor([PROMPTS[1]])).logits, before)
    assert not any(parameter.requires_grad for _, parameter in adapter_parameters(model, "first"))
