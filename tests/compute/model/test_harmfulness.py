"""A harmfulness probe beside a model that answers: scores by hand, where an answer ends, and that it leaves nothing."""

import math

import numpy as np
import pytest
import torch
from making import drain

from engine.compute.evaluation.attacks.attempt import Attempt
from engine.compute.evaluation.probed import firings
from engine.compute.model.activations import block_activations
from engine.compute.model.adapters import attach_adapter
from engine.compute.model.generation import Ask, spoken
from engine.compute.model.harmfulness import Probe, read_layers, save_layers
from engine.compute.model.mixed import Voice
from engine.compute.model.padding import batch_of
from engine.jobs.harmfulness import _descending
from engine.records.chats.asked import Sampling
from engine.records.errors import RunError
from engine.records.harmfulness import threshold_for
from engine.records.spec_parts import AdapterSpec

PROMPTS = [[1, 2, 3], [4, 5, 6, 7, 8, 9, 10], [11]]
TOKENS = 12


def direction(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, 16, generator=generator), torch.zeros(1)


def said(model, probes, *, adapter=None, prompts=PROMPTS):
    asks = [Ask(prompt, Voice(adapter), probe=probe) for prompt, probe in zip(prompts, probes, strict=True)]
    return drain(spoken(model, asks, Sampling(new_tokens=TOKENS)))[1]


def scores(model, prompt, ids, layers, block=1):
    """Of each answer token, read in one pass."""
    outputs = block_activations(model, batch_of(model, [[*prompt, *ids]]), [block]).outputs[block]
    return Probe(block, (layers,), 0.0).scores(outputs[0, len(prompt) :]).tolist()


def test_scores_are_the_layers_with_a_relu_between_them():
    """Hidden (1 * 2 - 3, 1 + 2 + 1) = (-1, 4), behind the ReLU (0, 4); 5 * 0 + 0.5 * 4 - 1 = 1."""
    first = (torch.tensor([[2.0, -1.5], [1.0, 1.0]]), torch.tensor([0.0, 1.0]))
    last = (torch.tensor([[5.0, 0.5]]), torch.tensor([-1.0]))
    probe = Probe(0, (first, last), 0.0)
    assert probe.scores(torch.tensor([1.0, 2.0])).item() == 1.0
    assert probe.scores(torch.tensor([[[1.0, 2.0]], [[1.0, 2.0]]])).shape == (2, 1)


@pytest.mark.parametrize(
    ("false_alarms", "threshold"), [(0.0, 9.0), (0.2, 7.0), (0.39, 7.0), (0.4, 5.0), (1.0, -math.inf)]
)
def test_a_threshold_lets_no_more_than_the_allowed_share_above_it(false_alarms, threshold):
    """Of the scores 9, 7, 5, 3, 1: none above 9, one of five above 7, two above 5."""
    assert threshold_for([1.0, 9.0, 5.0, 3.0, 7.0], false_alarms) == threshold


def test_without_scores_it_never_fires():
    assert threshold_for([], 0.5) == math.inf


@pytest.mark.parametrize("adapter", [None, "rerouted"])
def test_an_answer_ends_at_the_first_token_where_its_probe_fires_and_others_go_on(tiny_model, adapter):
    attach_adapter(tiny_model, "rerouted", AdapterSpec(rank=4, alpha=4, noise=0.3), [0, 1], seed=0)
    whole = said(tiny_model, [None] * 3, adapter=adapter)
    assert set(whole.endings) == {"length"}
    layers = direction()
    if adapter is None:
        of_first = scores(tiny_model, PROMPTS[0], whole.ids[0], layers)
        # Below the highest of the first tokens: known is the place where it fires first.
        threshold = max(of_first[:6]) - 1e-4
        expected = next(place for place, score in enumerate(of_first) if score > threshold) + 1
    else:
        probe = Probe(1, (layers,), -math.inf)
        threshold, expected = -math.inf, 1
        assert drain(firings(tiny_model, adapter, probe, [Attempt(1, (1, 2, 3), tuple(whole.ids[0]))], 99))[1] == [1]
    probe = Probe(1, (layers,), threshold)
    ended = said(tiny_model, [probe, None, None], adapter=adapter)
    assert ended.endings == ["probe", "length", "length"]
    assert ended.ids == [whole.ids[0][:expected], *whole.ids[1:]]


def test_two_probes_at_two_blocks_end_their_own_rows_alone(tiny_model):
    never, always = Probe(0, (direction(1),), math.inf), Probe(1, (direction(2),), -math.inf)
    ended = said(tiny_model, [never, always, None])
    assert ended.endings == ["length", "probe", "length"]
    assert [len(ids) for ids in ended.ids] == [TOKENS, 1, TOKENS]
    assert said(tiny_model, [always] * 3).endings == ["probe"] * 3
    assert not any(block._forward_hooks for block in tiny_model.blocks)


def test_a_broken_off_answer_leaves_no_hook(tiny_model):
    steps = spoken(tiny_model, [Ask([1, 2], probe=Probe(1, (direction(),), math.inf))], Sampling(new_tokens=8))
    next(steps)
    next(steps)
    steps.close()
    assert not any(block._forward_hooks for block in tiny_model.blocks)


def test_answers_that_are_read_again_end_where_they_would_have_ended(tiny_model):
    whole = said(tiny_model, [None] * 3)
    attempts = [Attempt(1, tuple(p), tuple(ids)) for p, ids in zip(PROMPTS, whole.ids, strict=True)]
    for seed in range(4):
        layers = direction(seed)
        highest = [
            score for p, ids in zip(PROMPTS, whole.ids, strict=True) for score in scores(tiny_model, p, ids, layers)
        ]
        probe = Probe(1, (layers,), sorted(highest)[len(highest) * 3 // 4] + 1e-4)
        _, read = drain(firings(tiny_model, None, probe, attempts, 99))
        ended = said(tiny_model, [probe] * 3)
        for at, ids, ending in zip(read, ended.ids, ended.endings, strict=True):
            # The very last token of an answer that was cut is not read while it is said.
            assert at == (len(ids) if ending == "probe" else at if at == TOKENS else 0)


def test_the_last_of_as_many_tokens_as_were_asked_for_is_read_nowhere(tiny_model):
    """While it was said nobody read it either."""
    probe = Probe(1, (direction(),), -math.inf)
    attempts = [Attempt(1, (1, 2), (5,)), Attempt(1, (1, 2), (5, 6))]
    assert drain(firings(tiny_model, None, probe, attempts, 1))[1] == [0, 1]
    assert drain(firings(tiny_model, None, probe, attempts, 2))[1] == [1, 1]


def test_the_words_put_into_the_models_mouth_are_passed_over(tiny_model):
    probe = Probe(1, (direction(),), -math.inf)
    attempts = [Attempt(1, (1, 2), (5, 6), (3, 4)), Attempt(1, (1, 2), (), (3, 4)), Attempt(1, (1,), (2,), (), "", 0)]
    assert drain(firings(tiny_model, None, probe, attempts, 99))[1] == [1, 0, 0]


def test_layers_are_kept_and_a_damaged_file_is_told(tmp_path):
    file = tmp_path / "weights.safetensors"
    save_layers(file, {"base.linear": [direction()], "base.mlp": [direction(1), direction(2)]})
    ((weight, bias),) = read_layers(file, "base.linear", torch.device("cpu"))
    assert torch.equal(weight, direction()[0]) and bias.item() == 0
    assert len(read_layers(file, "base.mlp", torch.device("cpu"))) == 2
    with pytest.raises(RunError, match=r"holds no harmfulness probe 'rerouted.linear'"):
        read_layers(file, "rerouted.linear", torch.device("cpu"))
    file.write_bytes(b"torn")
    with pytest.raises(RunError, match="cannot be read: fit them anew"):
        read_layers(file, "base.linear", torch.device("cpu"))


def test_a_text_that_leaves_no_room_for_an_answer_is_read_from_where_it_was_cut(tiny_model):
    probe = Probe(1, (direction(),), -math.inf)
    most = tiny_model.card.context_length
    widths = []
    hook = tiny_model.decoder.register_forward_pre_hook(
        lambda _module, _args, given: widths.append(given["input_ids"].shape[1]), with_kwargs=True
    )
    try:
        assert drain(firings(tiny_model, None, probe, [Attempt(1, (1,) * most, (5, 6))], TOKENS))[1] == [1]
    finally:
        hook.remove()
    assert widths == [most - TOKENS + 2]


def test_a_request_that_was_cut_to_leave_room_for_an_answer_is_read_as_it_was_cut(tiny_model):
    """The answer was shorter than the room that was left for it."""
    most = tiny_model.card.context_length
    long = tuple(1 + place % 40 for place in range(most - 4))
    whole = said(tiny_model, [None], prompts=[list(long[-(most - TOKENS) :])])
    answer = whole.ids[0][:6]
    layers = direction()
    of_it = scores(tiny_model, list(long[-(most - TOKENS) :]), answer, layers)
    probe = Probe(1, (layers,), max(of_it) - 1e-4)
    [at] = drain(firings(tiny_model, None, probe, [Attempt(1, long, tuple(answer))], TOKENS))[1]
    assert at == 1 + of_it.index(max(of_it))


def test_a_threshold_is_rounded_so_that_no_more_than_is_allowed_lies_above_it():
    scores = np.array([0.12344, 0.12342, 0.1, -0.00001])
    kept = _descending(scores)
    assert kept == (0.1235, 0.1235, 0.1, 0.0)
    for allowed, rate in enumerate((0.0, 0.25, 0.5, 0.75)):
        assert (scores > threshold_for(kept, rate)).sum() <= allowed
