"""The voices of columns: adapters attached for as long as they answer, and the directions that they are steered by."""

from collections.abc import Generator, Sequence
from contextlib import ExitStack

import numpy as np
import torch

from engine.child import in_child
from engine.compute.geometry.directions import steering_direction
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.mixed import Voice
from engine.compute.model.pushes import Push
from engine.device import Tools
from engine.records.captures.capture import BASE, Capture, TokenChoice, capture_folder, read_capture
from engine.records.chats.asked import Column, Steering
from engine.records.errors import ComputeError, RunError
from engine.records.events import Event
from engine.records.settings import Settings


def voices_of(
    stack: ExitStack, model: LoadedModel, columns: Sequence[Column], tools: Tools
) -> Generator[Event, None, list[Voice]]:
    """One voice a column; adapters stay attached until the stack is left. Raises RunError or ModelError where a run, a
    checkpoint, or the capture of a direction is gone or of another model."""
    voices = []
    for column in columns:
        adapter = stack.enter_context(tools.attached(model, column.checkpoint))
        push = None
        if column.steering is not None and column.steering.strength:
            push = yield from _push(model, column.steering, tools.settings)
        voices.append(Voice(adapter, column.dose, push))
    return voices


def _push(model: LoadedModel, steering: Steering, settings: Settings) -> Generator[Event, None, Push]:
    capture = _capture_for(model, steering, settings)
    vectors = capture.vectors(BASE, _tokens(capture), steering.block)
    harmful = np.array([prompt.label == "harmful" for prompt in capture.index.prompts])
    if steering.kind == "difference":
        direction = steering_direction(vectors, harmful, steering.kind)
    else:
        name = "engine.compute.geometry.directions.steering_direction"
        message = "Fits the probe that answers are steered by"
        direction = yield from in_child(name, vectors, harmful, steering.kind, phase="fitting", message=message)
    if direction is None:
        raise ComputeError(
            f"The capture {steering.capture} gives no direction at block {steering.block}: it needs harmful and benign "
            "prompts whose activations differ. Capture both sides, or choose another block."
        )
    vector = torch.from_numpy(np.asarray(steering.strength * direction, dtype=np.float32)).to(model.device)
    return Push(steering.model_dump_json(), steering.block, vector)


def _capture_for(model: LoadedModel, steering: Steering, settings: Settings) -> Capture:
    capture = read_capture(capture_folder(settings, steering.run_id, steering.capture))
    if capture is None:
        raise RunError(
            f"The capture {steering.capture} that answers are steered by is gone: choose another one, or turn steering "
            "off."
        )
    index = capture.index
    if index.model != model.spec.name:
        raise RunError(
            f"The capture {index.key} is of {index.model}, and {model.spec.name} is asked: choose a capture of that "
            "model."
        )
    if steering.block not in index.blocks:
        blocks = ", ".join(map(str, index.blocks))
        raise RunError(f"Block {steering.block} is not in the capture {index.key}: choose one of {blocks}.")
    return capture


def _tokens(capture: Capture) -> TokenChoice:
    """Of one vector a prompt: the mean over its answer where that was captured."""
    offered = [choice for choice in capture.index.tokens if choice != "every"]
    if not offered:
        raise RunError(
            f"The capture {capture.index.key} holds every token and no vector for a whole prompt: capture the answer "
            "mean to steer by it."
        )
    return "response_mean" if "response_mean" in offered else offered[0]
