"""One change of the colours for many requests and pictures (Moosavi-Dezfooli et al. 2017, arXiv:1610.08401), by
projected gradient descent on the mean loss of their targets.

It is made on one half of the rows and tried on the other, then the other way round: no row answers a change that was
made for it. Knows nothing of verdicts.
"""

from collections import Counter
from collections.abc import Generator, Sequence
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import Cache

from engine.compute.evaluation.attacks.attempt import Attempt, Attempts, Options, answers
from engine.compute.evaluation.attacks.pixels import (
    finite,
    need_pixels,
    pictures_of,
    pixels_of,
    read_opening,
    saved,
    showing,
    target_loss,
)
from engine.compute.evaluation.attacks.targets import target_ids
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.pixels import BILINEAR, resized
from engine.compute.model.text import tokens_of
from engine.compute.seeds import mix
from engine.compute.steps import told
from engine.records.conversation import Picture
from engine.records.errors import SpecError
from engine.records.evaluation.attacks import looks_of
from engine.records.evaluation.folds import two_folds
from engine.records.evaluation.perturbations import MIDDLE, MOST_EPSILON, perturbation_file
from engine.records.evaluation.pixels import PixelSearch
from engine.records.evaluation.rows import EvaluationRow
from engine.records.pictures import image_of, scratch_folder

# Of the time for one half: the search, then the answers of the other half.
SEARCH = 0.8
GREY = MIDDLE / 255

# A change of colours as a picture around middle grey, colours from 0 to 1.
Veil = Float[Tensor, "3 row column"]


class Universal(NamedTuple):
    """veils: the change at each look.  losses: the mean of the rows' targets at each step of the best search, in nats a
    token."""

    veils: dict[int, Veil]
    losses: list[float]


def pgd_universal(model: LoadedModel, adapter: str | None, rows: Sequence[EvaluationRow], options: Options) -> Attempts:
    """Every row answers, at looks_of the one search, the change that was made on the other half, at its own loss. The
    change at the end is left in options.keep, a file for each half.

    Raises ModelError for a model that does not see, DataError for fewer than two rows, SpecError beyond MOST_EPSILON.
    """
    search, looks = options.pixels, looks_of("pgd-universal", options.budget)
    if search.epsilon > MOST_EPSILON:
        raise SpecError(f"One change for all pictures moves a colour by {MOST_EPSILON} at most, not {search.epsilon}.")
    found: list[list[Attempt]] = [[] for _ in rows]
    for number, places in enumerate(two_folds(rows)):
        made_on = [row for place, row in enumerate(rows) if place not in places]
        steps = universal(model, adapter, made_on, search, looks, seed=mix(options.seed, "universal", number))
        total = search.restarts * (options.budget + 1) * len(made_on)
        made = yield from told(steps, partial(_searching, number, total))
        if options.keep is not None:
            saved(made.veils[looks[-1]], options.keep / perturbation_file(number))
        for done, place in enumerate(places):
            answered = _answered(model, adapter, rows[place], made, looks, options)
            found[place] = yield from told(answered, partial(_answering, number, done, len(places)))
    return found


def universal(
    model: LoadedModel,
    adapter: str | None,
    rows: Sequence[EvaluationRow],
    search: PixelSearch,
    looks: Sequence[int],
    *,
    seed: int,
) -> Generator[int, None, Universal]:
    """Search for as many steps as the last look says, for each restart; yields how many gradients were taken, one a row
    and step. The change has the shape that most pictures have."""
    need_pixels(model)
    aims = [_aim(model, adapter, row) for row in rows]
    sizes = Counter(image_of(picture).size for row in rows for picture in row.conversation.pictures)
    [((width, height), _)] = sizes.most_common(1)
    best: dict[int, tuple[float, Veil]] = {}
    courses: list[list[float]] = []
    for restart in range(search.restarts):
        generator = torch.Generator().manual_seed(mix(seed, restart))
        veil = _start((height, width), search, generator, model.device)
        least, kept, losses = float("inf"), veil, []
        for step in range(looks[-1] + 1):
            before = (restart * (looks[-1] + 1) + step) * len(rows)
            loss, gradient = yield from told(_mean_gradient(model, adapter, aims, veil), partial(_sum, before))
            losses.append(loss)
            if loss < least:
                least, kept = loss, veil
            if step in looks and least < best.get(step, (float("inf"), veil))[0]:
                best[step] = (least, kept)
            farthest = search.epsilon / 255
            veil = (veil - search.step_size / 255 * gradient.sign()).clamp(GREY - farthest, GREY + farthest)
        courses.append(losses)
    return Universal({look: veil for look, (_, veil) in best.items()}, min(courses, key=min))


def veiled(pixels: Float[Tensor, "3 height width"], veil: Veil) -> Float[Tensor, "3 height width"]:
    """A picture with the change, which is made as large as the picture."""
    return (pixels + resized(veil, (pixels.shape[1], pixels.shape[2]), BILINEAR) - GREY).clamp(0, 1)


def _mean_gradient(
    model: LoadedModel, adapter: str | None, aims: Sequence["_Aim"], veil: Veil
) -> Generator[int, None, tuple[float, Tensor]]:
    """The mean loss of the rows' targets, and its gradient, a row at a time; yields the rows done."""
    total, gradient = 0.0, torch.zeros_like(veil)
    for done, aim in enumerate(aims, start=1):
        moving = veil.detach().requires_grad_(True)
        loss = _loss(model, adapter, aim, moving)
        gradient += torch.autograd.grad(loss, moving)[0]
        total += finite(model, float(loss.detach()))
        yield done
    return total / len(aims), gradient / len(aims)


class _Aim(NamedTuple):
    """What no step changes of a row, read once. levels: its pictures' pixels of 8 bits, a quarter of what they are as
    numbers.  opening: of what stands before the pictures."""

    pictures: list[Picture]
    levels: list[Tensor]
    prompt: tuple[int, ...]
    target: list[int]
    opening: Cache | None


def _aim(model: LoadedModel, adapter: str | None, row: EvaluationRow) -> _Aim:
    pictures, prompt = pictures_of(row), tokens_of(model, row.conversation).ids
    levels = [(pixels_of(picture, torch.device("cpu")) * 255).round().byte() for picture in pictures]
    return _Aim(pictures, levels, prompt, target_ids(model, row), read_opening(model, adapter, prompt))


def _loss(model: LoadedModel, adapter: str | None, aim: _Aim, veil: Veil) -> Float[Tensor, ""]:
    shown = [veiled(levels.to(veil.device).float() / 255, veil) for levels in aim.levels]
    return target_loss(model, adapter, aim.pictures, aim.prompt, aim.target, shown, opening=aim.opening)


def _answered(
    model: LoadedModel,
    adapter: str | None,
    row: EvaluationRow,
    made: Universal,
    looks: Sequence[int],
    options: Options,
) -> Generator[float, None, list[Attempt]]:
    """What a row answers to its pictures with each change in 8 bits, saved and read again."""
    aim = _aim(model, adapter, row)
    prompts, losses = [], []
    with scratch_folder() as folder:
        for look in looks:
            veil = (made.veils[look] * 255).round() / 255
            shown = [veiled(levels.to(veil.device).float() / 255, veil) for levels in aim.levels]
            with torch.no_grad():
                losses.append(float(_loss(model, adapter, aim, veil)))
            prompts.append(tokens_of(model, showing(row, shown, folder / str(look)).conversation).ids)
            yield 0.0
        said = yield from answers(model, adapter, prompts, options)
    asked = f"{row.prompt} (every colour changed by at most {options.pixels.epsilon} of 255, alike for all pictures)"
    return [
        Attempt(look, aim.prompt, tuple(ids), (), asked, loss=loss)
        for look, ids, loss in zip(looks, said, losses, strict=True)
    ]


def _start(shape: tuple[int, int], search: PixelSearch, generator: torch.Generator, device: torch.device) -> Veil:
    """Grey, or anywhere within the distance of it."""
    noise = torch.rand((3, *shape), generator=generator) * 2 - 1
    return (GREY + search.random_start * search.epsilon / 255 * noise).to(device)


def _sum(before: int, done: int) -> int:
    return before + done


def _searching(half: int, total: int, done: int) -> float:
    return (half + SEARCH * done / total) / 2


def _answering(half: int, done: int, rows: int, share: float) -> float:
    return (half + SEARCH + (1 - SEARCH) * (done + share) / rows) / 2
