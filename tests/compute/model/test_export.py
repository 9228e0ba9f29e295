"""The merged model of a run where its device is too small or too full for it."""

import pytest
import torch
from making_kept import trained_by_job
from safetensors.torch import load_file

from engine.compute.model import export, placement
from engine.compute.model.export import export_run
from engine.compute.model.placement import Placement


@pytest.mark.parametrize("able", [True, False])
def test_weights_that_find_no_room_on_the_device_are_merged_beside_it_in_its_format(
    tiny_spec, settings, tmp_path, monkeypatch, able
):
    """Also on a processor that would compute that format in another one."""
    run = trained_by_job(tmp_path, tiny_spec(**{"optimizer.steps": 2, "optimizer.learning_rate": 0.05}))
    here = load_file(export_run(run, tmp_path / "here", settings, merged=True) / "merged" / "model.safetensors")
    card = export.describe_model(run.spec().model, settings)
    monkeypatch.setattr(placement, "multiplies_bfloat16", lambda: able)
    monkeypatch.setattr(export, "describe_model", lambda *_: card.model_copy(update={"dtype": "bfloat16"}))
    monkeypatch.setattr(export, "choose_device", lambda _: Placement(torch.device("cuda"), torch.bfloat16, ""))
    monkeypatch.setattr(export, "free_bytes", lambda _: 1000)
    there = load_file(export_run(run, tmp_path / "there", settings, merged=True) / "merged" / "model.safetensors")
    assert there.keys() == here.keys() and {tensor.dtype for tensor in there.values()} == {torch.bfloat16}
    for name, tensor in there.items():
        torch.testing.assert_close(tensor.float(), here[name], rtol=2e-2, atol=2e-3)
