"""Adapters that are kept out of benign inputs: the directions by hand, and what training leaves in them."""

import pytest
import torch
from making import drain, random_rows
from making_training import run

from engine.compute.model.activations import block_activations
from engine.compute.model.adapters import remove_adapter
from engine.compute.model.padding import batch_of
from engine.compute.training.null_space import _added, find_directions, leading_directions, without
from engine.compute.training.trainer import Rows, prepared
from engine.records.blocks import resolve_blocks


def test_the_directions_that_hold_a_share_of_the_energy_by_hand():
    """Energies 6, 3, 1 along the axes y, x, z: a share of 0.6 is held by y, 0.7 by y and x, 0.95 by all three."""
    moment = torch.diag(torch.tensor([3.0, 6.0, 1.0]))
    found = [leading_directions(moment, share).abs() for share in (0.6, 0.7, 0.95)]
    assert [one.shape[1] for one in found] == [1, 2, 3]
    torch.testing.assert_close(found[1], torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 0.0]]))


def test_directions_are_found_on_the_processor_whatever_device_the_moment_lies_on(monkeypatch):
    """Some devices have no float64."""
    asked: list[torch.Tensor] = []
    found = torch.linalg.eigh

    def watched(moment: torch.Tensor):
        asked.append(moment)
        return found(moment)

    class Elsewhere(torch.Tensor):
        """A moment on a device without float64."""

        def double(self) -> torch.Tensor:
            raise TypeError("Cannot convert a tensor to float64: the device has none.")

        def cpu(self) -> torch.Tensor:
            return self.as_subclass(torch.Tensor)

    monkeypatch.setattr(torch.linalg, "eigh", watched)
    moment = torch.diag(torch.tensor([3.0, 6.0, 1.0]))
    assert leading_directions(moment.as_subclass(Elsewhere), 0.7).equal(leading_directions(moment, 0.7))
    assert [one.dtype for one in asked] == [torch.float64] * 2


def test_a_layer_that_is_given_all_tokens_in_one_row_has_the_same_moment():
    """Of two rows of three tokens the first tokens are left out, and of the second row the last, which is padding."""
    seen = torch.tensor([[False, True, True], [False, True, False]])
    given = torch.arange(12.0).view(2, 3, 2)
    layer = torch.nn.Identity()
    moments: list[dict[str, torch.Tensor]] = [{}, {}]
    for found, inputs in zip(moments, (given, given.flatten(0, 1)), strict=True):
        with _added({"one": layer}, seen, found, {}):
            layer(inputs)
    # (2, 3), (4, 5) and (8, 9): 4 + 16 + 64, 6 + 20 + 72, 9 + 25 + 81.
    assert moments[0]["one"].tolist() == moments[1]["one"].tolist() == [[84.0, 98.0], [98.0, 115.0]]


def test_what_is_left_of_a_by_hand():
    """(3, 4, 5) without the direction (3, 4, 0) / 5: 5 of it lie there, so (3, 4, 5) - 5 (3, 4, 0) / 5 = (0, 0, 5)."""
    direction = torch.tensor([[0.6], [0.8], [0.0]])
    left = without(torch.tensor([[3.0, 4.0, 5.0]]), direction)
    torch.testing.assert_close(left, torch.tensor([[0.0, 0.0, 5.0]]), atol=1e-6, rtol=0)


def test_layers_that_the_same_enters_share_what_was_found_of_it(tiny_model, tiny_spec, tmp_path):
    spec = tiny_spec(**{"adapter.null_space": 0.9, "blocks.adapted": "1"})
    benign = random_rows(6, seed=1, label="benign")
    rows, blocks = Rows(random_rows(4), benign, [], []), resolve_blocks(spec, 2)
    trainer = prepared(tiny_model, "run", spec, blocks, rows, tmp_path, (), None, 4096, 4096)
    drain(find_directions(trainer))
    found = {name.split(".lora_A")[0].rsplit(".")[-1]: one for name, one in trainer.directions.items()}
    trainer.end()
    remove_adapter(tiny_model, "run")
    assert found["q_proj"] is found["k_proj"] is found["v_proj"] and found["gate_proj"] is found["up_proj"]
    assert found["q_proj"] is not found["o_proj"] and found["o_proj"] is not found["gate_proj"]


@pytest.mark.parametrize("adapted_blocks", ["0-1", "1"])
def test_after_training_the_adapter_reads_no_more_of_benign_inputs_than_was_allowed(
    tiny_model, tiny_spec, tmp_path, adapted_blocks: str
):
    """The share of the energy of a layer's benign inputs that A's rows lie in is below what it was kept out of. Read
    from the inputs themselves, not from the directions."""
    benign = random_rows(6, seed=1, label="benign")
    spec = tiny_spec(**{"adapter.null_space": 0.9, "blocks.adapted": adapted_blocks, "adapter.noise": 0.05})
    _, weights = run(tiny_model, spec, Rows(random_rows(4), benign, [], []), tmp_path / "kept out")
    _, free = run(
        tiny_model,
        tiny_spec(**{"blocks.adapted": adapted_blocks, "adapter.noise": 0.05}),
        Rows(random_rows(4), benign, [], []),
        tmp_path / "free",
    )
    name = next(one for one in weights if "layers.1.self_attn.q_proj" in one and "lora_A" in one)
    inputs: list[torch.Tensor] = []
    layer = tiny_model.blocks[1].self_attn.q_proj
    handle = layer.register_forward_pre_hook(lambda _module, given: inputs.append(given[0][0, 1:]))
    with torch.no_grad():
        for row in benign:
            block_activations(tiny_model, batch_of(tiny_model, [row.ids]), [1])
    handle.remove()
    seen = torch.cat(inputs)

    def read(down: torch.Tensor) -> float:
        _, lengths, rows = torch.linalg.svd(down, full_matrices=False)
        rows = rows[lengths > 1e-4 * lengths[0]].T
        return float((seen @ rows).square().sum() / seen.square().sum())

    assert read(weights[name]) < 0.1 < read(free[name])
