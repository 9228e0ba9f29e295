"""A push is added to its own rows at its own block, and leaves no trace: not in other rows, weights or later passes."""

import pytest
import torch
from making import drain

from engine.compute.model.adapters import adapter_parameters, attach_adapter
from engine.compute.model.generation import Ask, answer
from engine.compute.model.mixed import MixedBatch, Voice
from engine.compute.model.pushes import Push, PushedRows, pushed
from engine.records.chats.asked import Sampling
from engine.records.spec_parts import AdapterSpec

IDS = torch.tensor([[5, 6, 7, 8, 9, 10]])
ROWS = IDS.repeat(4, 1)


@pytest.fixture
def model(tiny_model):
    attach_adapter(tiny_model, "first", AdapterSpec(rank=4, alpha=8, noise=1.0), [0, 1], seed=0)
    return tiny_model


def push(name: str = "up", block: int = 0, size: float = 3.0) -> Push:
    generator = torch.Generator().manual_seed(block)
    return Push(name, block, size * torch.randn(16, generator=generator))


def outputs(model, voices):
    """What each block gives out for a row of each voice, and the logits."""
    found = []
    handles = [block.register_forward_hook(lambda _m, _i, out: found.append(out)) for block in model.blocks]
    with torch.no_grad(), MixedBatch(model, voices).active():
        logits = model.causal_lm(input_ids=ROWS[: len(voices)]).logits
    for handle in handles:
        handle.remove()
    return [out[0] if isinstance(out, tuple) else out for out in found], logits


def test_a_push_is_added_to_what_its_block_gives_out_at_every_token_and_dose_and_adapter_stay(model):
    one = push()
    plain, _ = outputs(model, [Voice("first"), Voice("first")])
    moved, _ = outputs(model, [Voice("first"), Voice("first", push=one)])
    torch.testing.assert_close(moved[0][1], plain[0][1] + one.vector)
    assert not torch.allclose(moved[1][1], plain[1][1], atol=0.01)


def test_other_rows_of_the_batch_are_the_same_to_the_last_bit(model):
    voices = [Voice(), Voice("first"), Voice("first", 0.5), Voice("first", 0.5)]
    _, plain = outputs(model, voices)
    _, moved = outputs(model, [*voices[:3], voices[3]._replace(push=push())])
    assert torch.equal(moved[:3], plain[:3]) and not torch.equal(moved[3], plain[3])


def test_two_pushes_at_two_blocks_reach_a_row_each_and_the_base_model_as_well(model):
    first, second = push("one", 0), push("two", 1)
    together = outputs(model, [Voice(push=first), Voice(push=second), Voice("first", push=first)])[1]
    for row, voice in enumerate([Voice(push=first), Voice(push=second), Voice("first", push=first)]):
        alone = outputs(model, [voice])[1]
        torch.testing.assert_close(together[row], alone[0], rtol=1e-4, atol=1e-5)


def test_weights_are_unchanged_and_hooks_are_gone_after_an_exception(model):
    before = {name: parameter.clone() for name, parameter in model.causal_lm.named_parameters()}
    assert any("lora" in name for name in before) and adapter_parameters(model, "first")
    batch = MixedBatch(model, [Voice("first", push=push(size=50))])
    with pytest.raises(RuntimeError, match="in the middle"), batch.active():
        model.causal_lm(input_ids=IDS)
        raise RuntimeError("in the middle")
    assert all(torch.equal(before[name], parameter) for name, parameter in model.causal_lm.named_parameters())
    assert not any(block._forward_hooks for block in model.blocks)


def test_what_is_recorded_of_a_block_holds_the_push_whoever_came_first(model):
    """A hook that was there before, and an output that is the block's own input: the input is not changed."""
    seen: list[torch.Tensor] = []
    handle = model.blocks[0].register_forward_hook(lambda _m, _i, out: seen.append(out))
    given = torch.zeros(1, 2, 16)
    model.blocks[0].__dict__["forward"] = lambda hidden: hidden
    with pushed(model, [PushedRows(slice(None), push())]):
        model.blocks[0](given)
    del model.blocks[0].__dict__["forward"]
    handle.remove()
    assert torch.equal(seen[0][0, 0], push().vector) and not given.any()


def test_a_steered_row_says_alone_what_it_says_beside_others_and_others_say_what_they_did(model):
    prompts = [[5, 6, 7], [8, 9, 10, 11], [5, 6, 7]]
    sampling = Sampling(new_tokens=8)

    def said(asks):
        steps, _ = drain(answer(model, asks, sampling))
        return [[step[row] for step in steps if step is not None] for row in range(len(asks))]

    asks = [Ask(prompts[0], Voice("first", push=push())), Ask(prompts[1]), Ask(prompts[2], Voice("first"))]
    together = said(asks)
    assert together == [said([ask])[0] for ask in asks]
    assert together[0] != together[2]
