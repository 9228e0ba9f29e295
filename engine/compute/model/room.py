"""How much goes through the model at once: what the free memory holds, by the model's own bytes a token. Memory that
runs out all the same halves the batch, and the work goes on. Knows nothing of what is computed.

A processor has a further bound, given by the caller: so much takes it about a second, and other jobs wait no longer.
"""

import gc
from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

import torch

from engine.compute.model.loaded import LoadedModel
from engine.compute.model.memory import ran_out_of_memory
from engine.compute.model.roomy_cache import ROOM
from engine.compute.team import least, least_of_all, shares, together
from engine.records.errors import MemoryShortage
from engine.records.machine_memory import available_memory, total_memory
from engine.records.room import LEFT_FOR_BACKWARD, kept_bytes, reading_bytes

# What a batch is of: a sequence that can be cut, or a tensor whose rows are its items.
Item = TypeVar("Item")
Given = TypeVar("Given")
Result = TypeVar("Result")

# Of what is free: the rest is for fragments, for other jobs' tensors, and for the copy of a block's cache that grows.
SHARE = 0.6
# What no batch exceeds, whatever is free: the weights are shared among enough rows by then.
MOST_ROWS = 512
# Tokens in one pass of a GPU without gradients: its products are at full speed by then, and other jobs wait little.
PASS_TOKENS = 8192
# Logits as the head gives them, as float32, and their softmax: bytes a number, beside the head's own.
LOGIT_BYTES = 8


def free_bytes(device: torch.device) -> int:
    """Memory that new tensors may take on this device, what torch holds for them included."""
    if device.type != "cuda":
        return available_memory()
    held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + held


def total_bytes(device: torch.device) -> int:
    """All memory of the device."""
    return int(torch.cuda.mem_get_info(device)[1] if device.type == "cuda" else total_memory())


@together
def learning_room(model: LoadedModel) -> float:
    """What a micro-batch may leave behind on its way forwards, beside the base activations that a run keeps, on the
    device that has least of it.

    0 (no bound) but on a GPU: elsewhere a second of work bounds a micro-batch long before memory does, and what is free
    changes from one run to the next.
    """
    if model.device.type != "cuda":
        return 0.0
    return max(1.0, least_of_all(_room(model) - kept_bytes(machine_of(model))))


@together
def machine_of(model: LoadedModel) -> dict[str, Any]:
    """The device that the model is on, and how its weights are shared, as the worker's measurement of a machine says
    it. Unlike devices in one team decide alike, by the smallest: each waits for what the others compute."""
    memory = int(least_of_all(float(total_bytes(model.device))))
    return {"device": str(model.device), "memory_bytes": memory, "shares": shares()}


def answer_bytes(model: LoadedModel, tokens: int) -> int:
    """What one row of so many tokens, prompt and answer, takes while it is answered: its cache, with the room that it
    grows into, and its logits."""
    return int(model.card.cache.of(tokens + ROOM) * model.dtype.itemsize) + logit_bytes(model, 1)


def logit_bytes(model: LoadedModel, positions: int) -> int:
    """What the logits of so many positions take, from the head's product to a softmax of them."""
    head = model.causal_lm.get_output_embeddings()
    vocabulary = head.weight.shape[0] if head is not None else 0
    return positions * vocabulary * (model.dtype.itemsize + LOGIT_BYTES)


def gradient_bytes(model: LoadedModel, tokens: int, *, logits: int) -> int:
    """What one row leaves behind on its way through the whole model, the logits of its last tokens included, until a
    gradient has come back to what entered."""
    left = len(model.blocks) * LEFT_FOR_BACKWARD * model.d_model * model.dtype.itemsize
    return tokens * left + logit_bytes(model, logits)


def rows_at_once(model: LoadedModel, row_bytes: int, *, on_a_processor: int, most: int = MOST_ROWS) -> int:
    """How many rows of so many bytes go through together, at least one."""
    bound = min(most, on_a_processor) if model.device.type == "cpu" else most
    return max(1, min(bound, int(_room(model) / max(1, row_bytes))))


def tokens_at_once(model: LoadedModel, *, on_a_processor: int, most: int = PASS_TOKENS) -> int:
    """How many tokens, padding included, are read in one pass without gradients."""
    return rows_at_once(model, reading_bytes(model.card, 1), on_a_processor=on_a_processor, most=most)


def by_halves(
    model: LoadedModel,
    batch: Sequence[Item],
    steps: Callable[[Sequence[Item]], Generator[Given, None, list[Result]]],
    *,
    row_bytes: int,
) -> Generator[Given, None, list[Result]]:
    """What `steps(batch)` returns, one result an item; where memory runs out the batch is halved and begun anew, and
    later batches are smaller too. row_bytes: what one item was reckoned to take. Raises MemoryShortage where a single
    item does not fit."""
    try:
        return (yield from steps(batch))
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
        if len(batch) == 1:
            raise MemoryShortage(
                f"Memory ran out with a single row on {model.device} ({_gigabytes(free_bytes(model.device))} free): "
                "choose shorter texts or a smaller model, or end what else uses that memory."
            ) from error
    # Behind the handler: while it runs, the error's frames hold the tensors that were too many.
    give_way(model, tried=len(batch) * row_bytes)
    half = (len(batch) + 1) // 2
    first = yield from by_halves(model, batch[:half], steps, row_bytes=row_bytes)
    return first + (yield from by_halves(model, batch[half:], steps, row_bytes=row_bytes))


def give_way(model: LoadedModel, *, tried: int) -> None:
    """After memory ran out: free what can be freed, and reckon with half as much from now on. tried: the bytes that
    what did not fit was reckoned to take."""
    release_memory()
    model.share = min(model.share, tried / (SHARE * max(1, free_bytes(model.device)))) / 2


def release_memory() -> None:
    """Give back to the device what nothing refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def need_room(device: torch.device, weights: int, *, what: str, instead: str) -> None:
    """Raises MemoryShortage where so many bytes of weights do not fit beside what is there. instead: what to do."""
    free = free_bytes(device)
    if weights > free:
        raise MemoryShortage(
            f"{what} takes {_gigabytes(weights)}, and {_gigabytes(free)} are free on {device}: {instead}."
        )


def _room(model: LoadedModel) -> float:
    return least(SHARE * model.share * free_bytes(model.device))


def _gigabytes(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
