"""What this machine is: device, memory, speed, versions of what decides a result. Knows nothing of jobs."""

import os
import time
from typing import Any

import psutil
import torch

from engine.compute.model.load import choose_device
from engine.records.spec_parts import ModelSpec


def measure_machine() -> dict[str, Any]:
    """Device, memory, and the speed of a large matrix product here: what estimates rest on. Takes under a second."""
    device, dtype = choose_device(ModelSpec())
    memory = torch.cuda.mem_get_info()[1] if device.type == "cuda" else psutil.virtual_memory().total
    return {
        "device": str(device),
        "dtype": str(dtype).removeprefix("torch."),
        "flops_per_second": matrix_speed(device, dtype),
        "memory_bytes": int(memory),
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
