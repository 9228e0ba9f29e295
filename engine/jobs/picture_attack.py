"""One attack on the pixels of a picture, a step an advance, so that it can be watched and stopped. Knows no queue."""

import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from typing import Any

from engine.compute.evaluation.attacks.pixels import Stepped, descent, need_pixels, saved
from engine.compute.evaluation.attacks.targets import target_ids
from engine.compute.model.generation import Ask, answered_ids
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.memory import failure_words
from engine.compute.model.mixed import Voice
from engine.compute.model.text import decode, need_askable, tokens_of
from engine.compute.steps import told
from engine.device import Tools
from engine.records.chats.asked import Sampling
from engine.records.errors import SpecError
from engine.records.evaluation.rows import EvaluationRow
from engine.records.events import Event, Progress
from engine.records.picture_attacks import (
    AttackFolder,
    PictureAttack,
    PixelAnswers,
    PixelEnd,
    PixelSaved,
    PixelStep,
    open_attack,
)

Job = Generator[Event | None, None, None]


def attack_picture_job(payload: dict[str, Any], tools: Tools) -> Job:
    """Search, and let all columns answer the best picture so far every few steps and at the end. Stopping keeps what
    there is."""
    attack = open_attack(tools.settings, str(payload.get("attack", "")))
    spec, started = attack.spec(), time.monotonic()
    try:
        if spec.attacked >= len(spec.columns):
            raise SpecError(f"Column {spec.attacked} is to be attacked, and there are {len(spec.columns)}.")
        model = yield from tools.acquire(spec.model)
        with ExitStack() as stack:
            adapters = [stack.enter_context(tools.still(model, one.checkpoint)) for one in spec.columns]
            yield from _searched(attack, spec, model, adapters)
    except GeneratorExit:
        if attack.is_there:
            attack.append(PixelEnd(reason="stopped", seconds=time.monotonic() - started))
        raise
    except Exception as error:  # Whatever it was, the attack must say that it broke off.
        if not attack.is_there:
            # Deleted while it searched: there is nowhere left to say it, and it was wanted.
            return
        said = failure_words(error)
        attack.append(PixelEnd(reason="failed", message=said, seconds=time.monotonic() - started))
        raise
    if attack.is_there:
        attack.append(PixelEnd(reason="done", seconds=time.monotonic() - started))


def _searched(attack: AttackFolder, spec: PictureAttack, model: LoadedModel, adapters: Sequence[str | None]) -> Job:
    row = EvaluationRow(spec.conversation(spec.picture), target=spec.target)
    # Before a search whose end could not be answered.
    need_pixels(model)
    need_askable(model, row.conversation)
    tokens_of(model, row.conversation, reserved=max(spec.new_tokens, len(target_ids(model, row))))
    steps = descent(model, adapters[spec.attacked], row, spec.search, spec.steps, seed=spec.seed)
    total, answered = spec.restarts * (spec.steps + 1), False
    best: Stepped | None = None
    best_done = 0
    with closing(steps):
        try:
            for done, one in enumerate(steps, start=1):
                attack.append(PixelStep(restart=one.restart, step=one.step, loss=one.loss))
                if best is None or one.least < best.least:
                    best, best_done, answered = one, done, False
                yield Progress(phase="attacking pixels", done=done, total=total)
                is_due = one.step > 0 and spec.taken(done) % spec.every == 0
                if not answered and (is_due or done == total):
                    yield from _answered(attack, spec, model, adapters, best, done)
                    answered = True
        except GeneratorExit:
            # Deleted meanwhile, it stays so.
            if best is not None and not answered and attack.is_there:
                saved(best.shown[0], attack.perturbed)
                attack.append(PixelSaved(done=best_done, loss=best.least))
            raise


def _answered(
    attack: AttackFolder,
    spec: PictureAttack,
    model: LoadedModel,
    adapters: Sequence[str | None],
    best: Stepped,
    done: int,
) -> Job:
    """What all columns say to the picture as it is saved. An attack that was deleted meanwhile stays so: writing would
    bring it back."""
    if not attack.is_there:
        return
    picture = saved(best.shown[0], attack.perturbed)
    prompt = tokens_of(model, spec.conversation(picture), reserved=spec.new_tokens).ids
    asks = [Ask(prompt, Voice(adapter)) for adapter in adapters]
    said = yield from told(
        answered_ids(model, asks, Sampling(new_tokens=spec.new_tokens)),
        lambda token: Progress(phase="answering", done=token, total=spec.new_tokens),
    )
    texts = tuple(decode(model, ids) for ids in said)
    attack.append(PixelAnswers(done=done, loss=best.least, texts=texts))
