"""The published maths, by hand, and the invariants of spaces and losses."""

import pytest
import torch

from engine.compute.training.reroute import (
    BlockSpace,
    BlockStatistics,
    last_normed,
    published_distances,
    rerouting_loss,
    retain_loss,
    token_cosine,
    token_drift,
)

PLAIN = BlockSpace(mean=torch.zeros(2), deviation=torch.ones(2), centred_norm=2.0)


def activations(*tokens: tuple[float, float]) -> torch.Tensor:
    return torch.tensor([list(tokens)], dtype=torch.float32)


def test_rerouting_loss_is_one_when_nothing_changed():
    base = {3: torch.randn(2, 5, 2)}
    loss = rerouting_loss(base, base, torch.ones(2, 5), {3: PLAIN}, space="raw")
    assert float(loss) == pytest.approx(1.0, abs=1e-6)


def test_rerouting_loss_by_hand():
    """Cosines 0.6 (3,4 against 1,0), 0 (orthogonal) and -1 -> 0 under relu: mean (0.6 + 0 + 0) / 3 = 0.2."""
    base = {0: activations((1, 0), (1, 0), (1, 0))}
    rerouted = {0: activations((3, 4), (0, 2), (-5, 0))}
    loss = rerouting_loss(rerouted, base, torch.ones(1, 3), {0: PLAIN}, space="raw")
    assert float(loss) == pytest.approx(0.2, abs=1e-6)


def test_rerouting_loss_is_the_mean_over_target_blocks():
    """Block 0 unmoved (1), block 1 orthogonal (0): mean 0.5."""
    base = {0: activations((1, 0)), 1: activations((1, 0))}
    rerouted = {0: activations((2, 0)), 1: activations((0, 2))}
    loss = rerouting_loss(rerouted, base, torch.ones(1, 1), {0: PLAIN, 1: PLAIN}, space="raw")
    assert float(loss) == pytest.approx(0.5, abs=1e-6)


def test_masked_tokens_do_not_count():
    """The second token would add cosine 1; only the first, 0.6, is in the mask."""
    base = {0: activations((1, 0), (1, 0))}
    rerouted = {0: activations((3, 4), (1, 0))}
    loss = rerouting_loss(rerouted, base, torch.tensor([[1.0, 0.0]]), {0: PLAIN}, space="raw")
    assert float(loss) == pytest.approx(0.6, abs=1e-6)


def test_retain_loss_by_hand():
    """Distances 5 (3,4) and 0: mean 2.5 absolute; divided by the centred norm 2: 1.25 relative."""
    base = {0: activations((1, 1), (7, 7))}
    rerouted = {0: activations((4, 5), (7, 7))}
    mask = torch.ones(1, 2)
    assert float(retain_loss(rerouted, base, mask, {0: PLAIN}, scale="absolute")) == pytest.approx(2.5)
    assert float(retain_loss(rerouted, base, mask, {0: PLAIN}, scale="relative")) == pytest.approx(1.25)


def test_padding_and_embeddings_dilute_the_published_retain_loss_by_hand():
    """Distances 5 (3,4) and 0 after one block. A row padded to 4 has 4 positions, each with a distance after the block
    and one after the embeddings: 5 / 8 = 0.625. Padded to 8: 5 / 16 = 0.3125.
    """
    base = {0: activations((1, 1), (7, 7))}
    rerouted = {0: activations((4, 5), (7, 7))}
    for tokens, expected in ((4, 0.625), (8, 0.3125)):
        distances = published_distances(rows=1, tokens=tokens, blocks=1)
        loss = retain_loss(rerouted, base, torch.ones(1, 2), {0: PLAIN}, scale="absolute", distances=distances)
        assert float(loss) == pytest.approx(expected)


def test_the_published_mean_is_that_of_rows_padded_and_stacked_with_their_embeddings():
    """Two rows of 3 and 2 tokens in 5 positions, embeddings and two blocks: the mean over all 2 x 5 x 3 norms."""
    mask = torch.tensor([[1.0, 1, 1, 0, 0], [1, 1, 0, 0, 0]])
    base, moved = torch.randn(2, 2, 2, 5, 2).unbind()
    embeddings = torch.randn(1, 2, 5, 2)
    difference = (torch.cat([embeddings, moved]) - torch.cat([embeddings, base])) * mask[None, :, :, None]
    loss = retain_loss(
        dict(enumerate(moved)), dict(enumerate(base)), mask, {0: PLAIN, 1: PLAIN}, scale="absolute",
        distances=published_distances(rows=2, tokens=5, blocks=2),
    )  # fmt: skip
    assert float(loss) == pytest.approx(float(difference.norm(dim=-1).mean()))


def test_only_the_last_block_is_normed():
    """Root mean square of (3, 4) is sqrt(12.5): normed (0.849, 1.131). The block below keeps its own."""
    norm = torch.nn.RMSNorm(2, eps=0)
    outputs = {4: activations((3, 4)), 2: activations((3, 4))}
    normed = last_normed(outputs, norm)
    assert normed[2].tolist() == [[[3, 4]]]
    assert normed[4].flatten().tolist() == pytest.approx([3 / 12.5**0.5, 4 / 12.5**0.5])
    assert last_normed(outputs, None) is outputs


def test_centred_cosine_by_hand():
    """Around the mean (10, 0): base (11, 0) is (1, 0), rerouted (10, 1) is (0, 1): cosine 0, raw 0.995."""
    space = BlockSpace(mean=torch.tensor([10.0, 0.0]), deviation=torch.ones(2), centred_norm=1.0)
    base, rerouted = activations((11, 0)), activations((10, 1))
    assert float(token_cosine(rerouted, base, space, "centred")) == pytest.approx(0.0, abs=1e-6)
    assert float(token_cosine(rerouted, base, space, "raw")) == pytest.approx(10 / 101**0.5, abs=1e-6)


def test_standardised_cosine_by_hand():
    """Deviations (100, 1): base (100, 1) is (1, 1), rerouted (100, -1) is (1, -1): cosine 0, raw 0.9998."""
    space = BlockSpace(mean=torch.zeros(2), deviation=torch.tensor([100.0, 1.0]), centred_norm=1.0)
    base, rerouted = activations((100, 1)), activations((100, -1))
    assert float(token_cosine(rerouted, base, space, "standardised")) == pytest.approx(0.0, abs=1e-6)
    assert float(token_cosine(rerouted, base, space, "raw")) == pytest.approx(9999 / 10001, abs=1e-6)


def test_cosine_has_no_gradient_where_nothing_moved_and_has_one_beside_it():
    base = torch.randn(1, 4, 2)
    for offset, expected in ((0.0, False), (0.1, True)):
        moved = (base + offset * torch.randn(1, 4, 2)).requires_grad_()
        token_cosine(moved, base, PLAIN, "raw").sum().backward()
        assert moved.grad is not None
        assert bool(moved.grad.abs().max() > 1e-3) is expected


def test_drift_has_a_finite_gradient_where_nothing_moved():
    base = torch.randn(1, 3, 2)
    same = base.clone().requires_grad_()
    token_drift(same, base).sum().backward()
    assert same.grad is not None and bool((same.grad == 0).all())


def test_both_losses_are_defined_without_tokens():
    base = {0: torch.randn(1, 2, 2)}
    assert float(rerouting_loss(base, base, torch.zeros(1, 2), {0: PLAIN}, space="raw")) == 0.0
    assert float(retain_loss(base, base, torch.zeros(1, 2), {0: PLAIN}, scale="absolute")) == 0.0


def test_statistics_equal_those_of_all_states_at_once():
    activations = torch.randn(50, 6) * torch.arange(1.0, 7.0) + 3
    statistics = BlockStatistics()
    for part in activations.split(7):
        statistics.add(part)
    space = statistics.space()
    torch.testing.assert_close(space.mean, activations.mean(0))
    torch.testing.assert_close(space.deviation, activations.std(0, correction=0))
    centred = activations - activations.mean(0)
    assert space.centred_norm == pytest.approx(float(centred.square().sum(1).mean().sqrt()), rel=1e-5)


def test_a_dimension_that_never_varies_is_not_divided():
    space = BlockSpace(mean=torch.tensor([5.0, 0.0]), deviation=torch.tensor([0.0, 2.0]), centred_norm=1.0)
    assert space.transform(activations((5, 4)), "standardised").tolist() == [[[0.0, 2.0]]]


def test_statistics_of_nothing_are_refused():
    with pytest.raises(ValueError, match="no activations"):
        BlockStatistics().space()


class WithoutDouble(torch.Tensor):
    """A stand-in for a tensor on an Apple GPU: it has no float64, and must be taken to the processor for that."""

    @property
    def device(self):
        return torch.device("mps")

    def double(self):
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64.")

    def cpu(self):
        return self.as_subclass(torch.Tensor)


def test_statistics_are_taken_where_float64_exists():
    activations = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    here, there = BlockStatistics(), BlockStatistics()
    here.add(activations)
    there.add(activations.as_subclass(WithoutDouble))
    torch.testing.assert_close(there.space().mean.as_subclass(torch.Tensor), here.space().mean)
    assert there.space().centred_norm == pytest.approx(here.space().centred_norm)
