"""Which tokens a loss sees, and over how many its mean is taken. Knows nothing of models."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from engine.compute.model.pictures import behind_pictures
from engine.compute.training.reroute import published_distances
from engine.compute.training.rows import Row
from engine.records.spec import RunSpec


def loss_mask(spec: RunSpec, rows: Sequence[Row], tokens: int, device: torch.device) -> Float[Tensor, "prompt token"]:
    """1 for tokens that a loss sees: the spec's masks, harmful rows and benign ones."""
    mask = torch.zeros((len(rows), tokens))
    for index, row in enumerate(rows):
        seen = seen_tokens(spec, row)
        mask[index, seen.start : seen.stop] = 1
    return mask.to(device)


def reroute_tokens(spec: RunSpec, rows: Sequence[Row]) -> float:
    """How many tokens the rerouting mean of a whole step is over."""
    return float(sum(len(seen_tokens(spec, row)) for row in rows if row.label == "harmful"))


def retain_distances(spec: RunSpec, rows: Sequence[Row], blocks: int) -> float:
    """How many distances the retain mean of a whole step is over."""
    benign = [row for row in rows if row.label == "benign"]
    if spec.loss.retain_mean == "positions":
        return published_distances(rows=len(benign), tokens=spec.data.max_tokens, blocks=blocks)
    return float(sum(len(seen_tokens(spec, row)) for row in benign) * blocks)


def holds_answer(spec: RunSpec, row: Row) -> bool:
    """Whether what a row's answer foretells is held as the base model has it."""
    wanted = row.borderline or spec.loss.answer_rows == "benign"
    return spec.loss.answer_weight > 0 and row.label == "benign" and wanted and len(foretelling(row)) > 0


def foretelling(row: Row) -> range:
    """The tokens behind which a row's answer is foretold: from the one before it to its last but one."""
    return range(max(0, row.response_start - 1), max(0, len(row.ids) - 1))


def answer_places(row: Row) -> range:
    """The tokens of a row's answer; of one that was cut before it, the last token."""
    return range(min(row.response_start, len(row.ids) - 1), len(row.ids))


def answer_tokens(spec: RunSpec, rows: Sequence[Row]) -> float:
    """How many tokens the mean of what answers foretell is over, in a whole step."""
    return float(sum(len(foretelling(row)) for row in rows if holds_answer(spec, row)))


def seen_tokens(spec: RunSpec, row: Row) -> range:
    """The tokens that the row's loss sees.

    all: every one.  response: the answer, led in by some tokens of the prompt.  request_and_response: from the request
    on, so that of a row with tools their definitions are left out.  function_name: as response, up to and with the name
    in its first call.  call: its calls alone. An answer without a call is seen as a response.  after_picture: all
    behind its last picture, as published; a row without one is seen whole.
    """
    harmful, end = row.label == "harmful", len(row.ids)
    mask = spec.loss.mask if harmful else spec.loss.retain_mask
    lead = max(0, row.response_start - spec.loss.lead_tokens)
    # Relative drift is in units of the centred norm, which the first token (an attention sink) does not share.
    first = 1 if not harmful and spec.loss.retain_scale == "relative" else 0
    skipped = spec.loss.skip_response_tokens if harmful else 0
    if mask in ("all", "after_picture"):
        opening = behind_pictures(row.ids) if mask == "after_picture" else 0
        return range(min(max(first, opening), end), end)
    if mask == "request_and_response":
        return range(min(max(first, row.request_start), end), end)
    if mask == "call" and row.call is not None:
        return range(min(max(first, row.call.start), row.call.end), row.call.end)
    # Who leaves out the answer's first tokens leaves out what leads in to them too.
    start = min(max(first, row.response_start + skipped if skipped else lead), end)
    if mask == "function_name" and row.call is not None:
        return range(min(start, row.call.named), row.call.named)
    return range(start, end)
