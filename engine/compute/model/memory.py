"""How running out of memory looks. Knows nothing of what ran."""

import torch


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether memory was short: torch has a kind of its own for a GPU's; its CPU allocator raises a RuntimeError."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "DefaultCPUAllocator" in str(error)
