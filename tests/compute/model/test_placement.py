"""Which device and which number format, and the reason that is shown."""

import pytest
import torch

from engine.compute.model import load, placement
from engine.compute.model.load import load_model
from engine.compute.model.placement import choose_device, exactly, repeatable
from engine.machine import measure_machine
from engine.records.errors import ModelError
from engine.records.spec_parts import ModelSpec


@pytest.fixture
def capability(monkeypatch):
    """A GPU's stand-in of a given compute capability."""

    def stand_in(major: int, minor: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (major, minor))

    return stand_in


@pytest.mark.parametrize(("major", "minor"), [(8, 0), (8, 6), (9, 0), (12, 0)])
def test_a_device_that_computes_bfloat16_gets_it_and_the_reason_names_its_capability(capability, major, minor):
    capability(major, minor)
    device, dtype, reason = choose_device(ModelSpec())
    assert (device.type, dtype) == ("cuda", torch.bfloat16)
    assert reason == f"bfloat16: the device computes it, capability {major}.{minor}"


@pytest.mark.parametrize(("major", "minor"), [(7, 5), (7, 0), (6, 1)])
def test_an_older_device_gets_float32_since_float16_is_unsafe_to_train_in(capability, major, minor):
    capability(major, minor)
    device, dtype, reason = choose_device(ModelSpec())
    assert (device.type, dtype) == ("cuda", torch.float32)
    assert f"capability {major}.{minor} computes no bfloat16" in reason and "float16 overflows" in reason


def test_the_spec_decides_on_any_device(capability):
    capability(7, 0)
    assert choose_device(ModelSpec(dtype="bfloat16"))[1:] == (torch.bfloat16, "bfloat16: the spec says so")
    assert choose_device(ModelSpec(device="cpu", dtype="float16"))[:2] == (torch.device("cpu"), torch.float16)


def test_a_processor_computes_in_float32_and_the_machine_says_why(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    chosen = choose_device(ModelSpec())
    assert chosen[:2] == (torch.device("cpu"), torch.float32)
    assert chosen.reason.startswith("float32: on a processor it is exact")
    assert measure_machine()["format_reason"] == chosen.reason


def test_bfloat16_on_a_processor_without_its_instructions_is_computed_in_float32_where_memory_allows(monkeypatch):
    """8 GiB: 2^30 parameters take 4 GiB in float32, which is half; one more is too many."""
    monkeypatch.setattr(placement, "total_memory", lambda: 8 * 2**30)
    asked = ModelSpec(device="cpu", dtype="bfloat16")
    for able, parameters, expected, reason in (
        (False, 2**30, torch.float32, "no instructions for the bfloat16 of the spec, and is slower in it"),
        (False, 2**30 + 1, torch.bfloat16, "float32 would take more than half of its memory"),
        (True, 2**30, torch.bfloat16, "bfloat16: the spec says so"),
    ):
        monkeypatch.setattr(placement, "multiplies_bfloat16", lambda able=able: able)
        device, dtype, why = choose_device(asked, parameters)
        assert (device.type, dtype) == ("cpu", expected) and reason in why


def test_a_model_loads_in_the_format_that_its_card_names(tiny_model_folder, settings, monkeypatch):
    for able in (False, True):
        monkeypatch.setattr(placement, "multiplies_bfloat16", lambda able=able: able)
        model = load_model(ModelSpec(name=str(tiny_model_folder), device="cpu", dtype="bfloat16"), settings)
        assert model.dtype == next(model.causal_lm.parameters()).dtype == getattr(torch, model.card.dtype)
        assert (model.dtype == torch.bfloat16) is able


def test_a_gpu_computes_repeatably_inside_and_as_before_afterwards():
    for device, expected in (("cuda", True), ("cpu", False)):
        with pytest.raises(KeyError), repeatable(torch.device(device)):
            assert torch.are_deterministic_algorithms_enabled() is expected
            assert torch.is_deterministic_algorithms_warn_only_enabled() is expected
            raise KeyError
        assert not torch.are_deterministic_algorithms_enabled()
        assert torch.utils.deterministic.fill_uninitialized_memory


def test_attention_that_plans_anew_for_every_length_is_never_taken():
    """cuDNN's: torch takes it first on some GPUs."""
    assert not torch.backends.cuda.cudnn_sdp_enabled()
    assert torch.backends.cuda.mem_efficient_sdp_enabled() and torch.backends.cuda.flash_sdp_enabled()


def test_a_device_that_is_not_there_is_refused_with_those_that_are(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match=r"cuda is not there: choose auto or .*cpu"):
        choose_device(ModelSpec(device="cuda"))


def test_backwards_a_gpu_may_not_merely_warn_and_forwards_it_may_again():
    warns = torch.is_deterministic_algorithms_warn_only_enabled
    with repeatable(torch.device("cuda")):
        with pytest.raises(KeyError), exactly(torch.device("cuda")):
            assert torch.are_deterministic_algorithms_enabled() and not warns()
            raise KeyError
        assert torch.are_deterministic_algorithms_enabled() and warns()
    with exactly(torch.device("cpu")):
        assert not torch.are_deterministic_algorithms_enabled()


def test_of_several_gpus_weights_go_to_the_one_that_this_process_computes_on(monkeypatch):
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    assert load._numbered(torch.device("cuda")) == torch.device("cuda:3")
    assert load._numbered(torch.device("cpu")) == torch.device("cpu")
