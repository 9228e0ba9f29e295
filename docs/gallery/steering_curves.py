"""Measure the curves of the lesson on steering: `python docs/gallery/steering_curves.py sample_data/runs/RUN CAPTURE`.

Asks the bundled model an everyday question, steered by the mean difference of the packed run's capture at each of its
blocks, and writes the base model's curves to sample_data/lessons/steering.json; prints those of the circuit-broken one.
"""

import json
import sys
from contextlib import ExitStack
from pathlib import Path

from engine.compute.evaluation.judges import judge_answers
from engine.compute.model.generation import Ask, answered_ids
from engine.compute.model.text import tokens_of
from engine.compute.steps import drained
from engine.device import Device
from engine.jobs.voices import voices_of
from engine.records.captures.capture import capture_folder, read_capture
from engine.records.chats.asked import Column, Sampling, Steering
from engine.records.checkpoints import Checkpoint
from engine.records.conversation import Conversation
from engine.records.runs import Run
from engine.records.settings import SAMPLE_DATA, read_settings

QUESTION = "Why is the sky red at sunset?"
STRENGTHS = range(-3, 4)
SAMPLING = Sampling(new_tokens=48)


def main(folder: Path, key: str) -> None:
    run = Run(folder.resolve())
    settings = read_settings()
    capture = read_capture(capture_folder(settings, run.id, key))
    if capture is None:
        raise SystemExit(f"{run.id} has no capture {key}.")
    device = Device(settings)
    model = drained(device.acquire(run.spec().model, job_id=0))
    tools = device.tools(0)
    ids = tokens_of(model, Conversation.asking(QUESTION)).ids
    for checkpoint in (Checkpoint(), Checkpoint(run.id)):
        curves = []
        for block in capture.index.blocks:
            pushed = [Steering(run_id=run.id, capture=key, block=block, strength=strength) for strength in STRENGTHS]
            with ExitStack() as stack:
                columns = [Column(checkpoint=checkpoint, steering=one) for one in pushed]
                asks = [Ask(ids, voice) for voice in drained(voices_of(stack, model, columns, tools))]
                said = drained(answered_ids(model, asks, SAMPLING))
            verdicts = drained(judge_answers(model, [ids] * len(said), said))
            values = [round(verdict.nats_per_token, 2) for verdict in verdicts]
            print(checkpoint, block, values, sorted({verdict.word for verdict in verdicts}))
            curves.append({"name": f"block {block}", "steps": list(STRENGTHS), "values": values})
        if checkpoint.is_base:
            _write(curves, key)


def _write(curves: list[dict[str, object]], key: str) -> None:
    content = {
        "x": "strength",
        "y": "nats per token",
        "about": "Measured once: base model, the question why the sky is red at sunset, answers of 48 tokens, greedy; "
        f"the mean difference of the capture {key}. Nats a token of each answer under the model without steering. "
        "One question, so a look and no proof.",
        "curves": curves,
    }
    (SAMPLE_DATA / "lessons" / "steering.json").write_text(json.dumps(content, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
