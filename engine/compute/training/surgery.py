"""Gradient surgery: the rerouting loss does not undo what the retain loss does.

Harmful and benign rows go through in micro-batches of their own, and the gradients of the first are set aside, so that
a step has both apart at the cost of one. Knows nothing of losses or models. Source: Yu et al. 2020 (arXiv:2001.06782).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


def without_conflict(
    rerouting: Float[Tensor, " parameter"], retaining: Float[Tensor, " parameter"]
) -> Float[Tensor, " parameter"]:
    """The rerouting gradient; where it points against the retaining one, without its part along that."""
    conflict = (rerouting * retaining).sum().clamp_max(0)
    return rerouting - conflict / retaining.square().sum().clamp_min(1e-30) * retaining


def set_aside(parameters: Sequence[nn.Parameter], aside: Sequence[Tensor]) -> None:
    """Add these parameters' gradients to what is set aside, and leave them without."""
    for parameter, kept in zip(parameters, aside, strict=True):
        if parameter.grad is not None:
            kept += parameter.grad
            parameter.grad = None


def put_together(parameters: Sequence[nn.Parameter], aside: Sequence[Tensor]) -> None:
    """Give these parameters, which hold the retaining gradients, the sum of both, the one set aside without what
    points against them."""
    retaining = torch.cat(
        [torch.zeros_like(kept).flatten() if parameter.grad is None else parameter.grad.flatten()
         for parameter, kept in zip(parameters, aside, strict=True)]
    )  # fmt: skip
    whole = retaining + without_conflict(torch.cat([kept.flatten() for kept in aside]), retaining)
    parts = whole.split([parameter.numel() for parameter in parameters])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.grad = part.view_as(parameter)
