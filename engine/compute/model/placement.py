"""Where a model runs and in which number format, and why. Knows nothing of weights or files.

One format for everything: base and rerouted activations are computed in the format of the weights, never under an
autocast of one of them alone, so that an adapter that changes nothing moves nothing.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import torch

from engine.compute.team import least_of_all
from engine.records.errors import ModelError
from engine.records.machine_memory import total_memory
from engine.records.spec_parts import ModelSpec

# Products on a GPU repeat to the last bit with a workspace of their own alone; it is read before the first of them.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
# Some GPUs take cuDNN's attention first, which makes a plan for every shape it has not seen: for each micro-batch, for
# each token of an answer. It keeps no order of its sums either, and is not made to by `repeatable`.
torch.backends.cuda.enable_cudnn_sdp(False)

# From this compute capability on, matrix products in bfloat16 are instructions of the device.
BFLOAT16_CAPABILITY = (8, 0)
# Of a processor's memory: weights in float32 that take more stay in the bfloat16 that the spec asks for.
WIDENED_SHARE = 1 / 2
FORMATS = (torch.float32, torch.bfloat16, torch.float16)


class Placement(NamedTuple):
    """reason: why this number format, as a sentence without its full stop."""

    device: torch.device
    dtype: torch.dtype
    reason: str


def choose_device(spec: ModelSpec, parameters: int = 0) -> Placement:
    """Device and number format: as the spec says, else cuda, mps, cpu, and what the device computes safely.

    A processor without instructions for bfloat16 computes a spec's bfloat16 in float32 where it has the memory:
    two to five times as fast (Qwen2.5-Coder-0.5B, measured), with weights as their files hold them.

    parameters: of the model, by which its memory is judged; 0 where the device alone is asked for.  Raises ModelError
    for a device that is not there.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    name = spec.device
    if name == "auto":
        name = next(device for device in ("cuda", "mps", "cpu") if available[device])  # type: ignore[assignment]
    if not available[name]:
        raise ModelError(
            f"The device {name} is not there: choose auto or {' or '.join(d for d in available if available[d])}."
        )
    device = torch.device(name)
    if spec.dtype == "bfloat16" and name == "cpu" and not multiplies_bfloat16():
        return Placement(device, *_widened(parameters))
    if spec.dtype != "auto":
        return Placement(device, getattr(torch, spec.dtype), f"{spec.dtype}: the spec says so")
    return Placement(device, *_format(name))


def need_one_format(name: str, dtype: torch.dtype) -> None:
    """Raises ModelError, in all processes that load a model together, where their devices would compute it in unlike
    formats: what one tells the others would be of another size."""
    place = float(FORMATS.index(dtype))
    if least_of_all(place) != -least_of_all(-place):
        raise ModelError(
            f"The devices of this team compute {name} in unlike number formats, here in "
            f"{str(dtype).removeprefix('torch.')}: give one that all of them compute (model.dtype = float32), or start "
            "the worker on devices of one kind."
        )


@cache
def multiplies_bfloat16() -> bool:
    """Whether this processor multiplies matrices in bfloat16, with sums in float32: in half the time or less."""
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def _widened(parameters: int) -> tuple[torch.dtype, str]:
    # The whole memory, not what is free: a run that goes on must find the format that it began in.
    if 4 * parameters <= WIDENED_SHARE * total_memory():
        return torch.float32, (
            "float32: this processor has no instructions for the bfloat16 of the spec, and is slower in it"
        )
    return torch.bfloat16, (
        "bfloat16: the spec says so. This processor has no instructions for it and is slow in it, but float32 would "
        "take more than half of its memory"
    )


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Inside, a GPU takes kernels that give the same bits each time: attention's backward pass otherwise adds up in
    whatever order its parts are done, and a resumed run would not equal an unbroken one. A processor repeats itself."""
    if device.type != "cuda":
        yield
        return
    enabled, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    # A module whose one attribute is a property, which type checkers do not see.
    memory: Any = torch.utils.deterministic
    fills = memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warns)
        memory.fill_uninitialized_memory = fills


@contextmanager
def exactly(device: torch.device) -> Iterator[None]:
    """Inside `repeatable`, around a backward pass: where torch need only warn, attention's keeps its sums in any order.
    Forwards it must warn: the positions of a padded batch are counted by a kernel that has no such order."""
    if device.type != "cuda":
        yield
        return
    torch.use_deterministic_algorithms(True, warn_only=False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(True, warn_only=True)


def _format(name: str) -> tuple[torch.dtype, str]:
    if name != "cuda":
        what = "a processor" if name == "cpu" else "an Apple GPU"
        return torch.float32, f"float32: on {what} it is exact, and half precision gains little"
    major, minor = torch.cuda.get_device_capability()
    if (major, minor) >= BFLOAT16_CAPABILITY:
        return torch.bfloat16, f"bfloat16: the device computes it, capability {major}.{minor}"
    # float16 ends at 65,504: the first token's activations exceed that in real models, and small gradients are lost.
    return torch.float32, (
        f"float32: a device of capability {major}.{minor} computes no bfloat16 (that begins at 8.0), and float16 "
        "overflows in training"
    )
