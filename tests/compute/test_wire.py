"""What one process tells another weighs as much as it says."""

import torch

from engine.compute.wire import Kept, packed, unpacked


def test_views_travel_alone_and_not_with_all_that_they_are_views_of():
    """As captures are given back: the columns of a group's rows, cut from one transfer."""
    whole = torch.arange(100_000, dtype=torch.float32)
    views = [part.reshape(10, 10) for part in whole.split(100)]
    content = packed({"views": views, "row": whole[::1000], "whole": whole}, Kept(first=True))
    # Twice the numbers, and what pickle writes around a thousand tensors.
    assert len(content) < 2 * whole.nbytes + 1_000_000
    found = unpacked(content, Kept(first=False))
    assert all(torch.equal(one, view) for one, view in zip(found["views"], views, strict=True))
    assert torch.equal(found["row"], whole[::1000]) and torch.equal(found["whole"], whole)


def test_what_is_no_plain_tensor_is_told_as_before():
    parameter = torch.nn.Parameter(torch.ones(4))
    sparse = torch.eye(3).to_sparse()
    found = unpacked(packed([parameter, sparse, "words"], Kept(first=True)), Kept(first=False))
    assert isinstance(found[0], torch.nn.Parameter) and torch.equal(found[0], parameter)
    assert torch.equal(found[1].to_dense(), torch.eye(3)) and found[2] == "words"
