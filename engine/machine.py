"""What this machine is: device, memory, speed, versions of what decides a result. Knows nothing of jobs."""

import os
import time
from typing import Any

import torch

from engine.compute.model.placement import choose_device
from engine.compute.model.room import total_bytes
from engine.records.spec_parts import ModelSpec


def measure_machine() -> dict[str, Any]:
    """Device, memory, and the speed of a large matrix product here: what estimates rest on. Takes under a second."""
    device, dtype, reason = choose_device(ModelSpec())
    return {
        "device": str(device),
        "dtype": str(dtype).removeprefix("torch."),
        "format_reason": reason,
        "flops_per_second": matrix_speed(device, dtype),
        "memory_bytes": total_bytes(device),
        "cores": os.cpu_count(),
    }


def matrix_speed(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second in a large matrix product, the best of a few."""
    size = 4096 if device.type == "cuda" else 1024
    left = torch.randn(size, size, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(4):
        started = time.perf_counter()
        product = left @ left
        float(product[0, 0])
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best
