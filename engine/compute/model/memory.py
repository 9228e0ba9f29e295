"""How running out of memory looks, and a device that has failed, also in words. Knows nothing of what ran."""

import torch

from engine.records.errors import WorkbenchError

# What the drivers say when nothing more can be computed in this process.
FAILED = (
    "CUDA error",
    "CUDA driver error",
    "HIP error",
    "cuDNN error",
    "CUBLAS_STATUS",
    "NCCL error",
    "MPS backend failed",
)
# The processor's allocator, an Apple GPU's, and that of cuBLAS, which has none left for its own use.
SHORT = ("DefaultCPUAllocator", "MPS backend out of memory", "STATUS_ALLOC_FAILED")


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether memory was short: torch has a kind of its own for a GPU's; other allocators raise a RuntimeError."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in SHORT)


def device_failed(error: BaseException) -> bool:
    """Whether the device itself is gone for this process: after a CUDA error every further call fails."""
    if ran_out_of_memory(error) or not isinstance(error, RuntimeError):
        return False
    return isinstance(error, torch.AcceleratorError) or any(words in str(error) for words in FAILED)


def is_of_device(error: BaseException) -> bool:
    """Whether the device is to blame, full or failed, and not what was read onto it."""
    return ran_out_of_memory(error) or device_failed(error)


def failure_words(error: Exception) -> str:
    """What a job that failed says to the user."""
    if isinstance(error, WorkbenchError):
        return str(error)
    first = (str(error).splitlines() or ["the system gave no reason."])[0]
    if device_failed(error):
        return f"The device failed: {first} The last checkpoint is kept: restart the worker, then resume the run."
    if ran_out_of_memory(error):
        return f"Memory ran out: {first} Choose a smaller model, or fewer or shorter texts at once."
    return f"Something unexpected went wrong ({type(error).__name__}: {error}). The worker log has the details."
