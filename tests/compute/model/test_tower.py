"""A tower out of an ONNX file is the very tower that was exported."""

import pytest
import torch
from making_towers import tiny_tower, write_tower

from engine.compute.model.tower import read_tower
from engine.records.errors import ModelError


def test_the_tower_that_is_read_computes_what_the_exported_one_does(tmp_path):
    exported = tiny_tower()
    read = read_tower(write_tower(tmp_path / "tower.onnx", exported))
    pixels = torch.randn(2, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        theirs = exported(pixels, output_hidden_states=True).hidden_states
        ours = read(pixels, output_hidden_states=True).hidden_states
    assert len(ours) == 4 and ours[2].shape == (2, 17, 64)
    assert all(torch.equal(one, other) for one, other in zip(theirs, ours, strict=True))
    assert not any(parameter.requires_grad for parameter in read.parameters())


def test_a_file_that_is_no_network_and_one_of_another_kind_are_refused(tmp_path):
    file = tmp_path / "tower.onnx"
    file.write_bytes(b"no network")
    with pytest.raises(ModelError, match=r"tower\.onnx cannot be read.*assemble again"):
        read_tower(file)
    lacking = write_tower(tmp_path / "other" / "tower.onnx", tiny_tower(), without=("layernorm.weight",))
    with pytest.raises(ModelError, match=r"cannot be read: It has no weights layernorm\.weight"):
        read_tower(lacking)
