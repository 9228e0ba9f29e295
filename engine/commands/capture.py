"""`python -m engine capture`: capture the activations of a run, or of a base model alone, in the foreground."""

import argparse
from typing import get_args

from pydantic import ValidationError

from engine.commands.counting import carry_out
from engine.records.captures.capture import AVERAGED, CaptureRequest, TokenChoice, capture_folder
from engine.records.checkpoints import run_checkpoints
from engine.records.errors import SpecError
from engine.records.runs import ACTIVE, open_run
from engine.records.settings import Settings
from engine.records.spec_parts import ModelSpec


def capture(options: argparse.Namespace, settings: Settings) -> int:
    """Capture and print the folder. What is already captured is left alone."""
    request = _request(options, settings)
    from engine.device import Device
    from engine.jobs.capture import capture_job

    carry_out(capture_job(request.model_dump(mode="json"), Device(settings).tools(0)), lambda event: event.phase)
    print(capture_folder(settings, request.run_id, request.key))
    return 0


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("run", metavar="RUN", help="run id, or 'base' for a base model alone")
    command.add_argument("--steps", help="steps with a checkpoint, such as 50,100 (default: all, and the last step)")
    command.add_argument("--model", default="", help="with 'base': a Hugging Face id or folder")
    command.add_argument("--prompts", type=int, default=48, help="prompts a side (default: 48)")
    command.add_argument(
        "--split",
        action="append",
        choices=["train", "validation", "test"],
        help="may be given several times (default: validation and test)",
    )
    command.add_argument(
        "--blocks", default="0%-100%", help="blocks to capture, such as 0-29 or 33%%-66%% (default: all)"
    )
    command.add_argument(
        "--tokens",
        action="append",
        metavar="CHOICE",
        help=f"{' or '.join(get_args(TokenChoice))}; may be given several times (default: the first two)",
    )


def _request(options: argparse.Namespace, settings: Settings) -> CaptureRequest:
    content: dict = {"prompts_per_side": options.prompts, "blocks": options.blocks, "averaged": AVERAGED}
    if options.split:
        content["splits"] = options.split
    if options.tokens:
        content["tokens"] = options.tokens
    if options.run == "base" and options.steps:
        raise SpecError("--steps belongs to a run: the base model has none. Leave it out, or name a run.")
    if options.run != "base" and options.model:
        raise SpecError(
            "--model belongs to 'base': a run is captured on the model that it was trained on. Leave it out."
        )
    if options.run == "base":
        content["model"] = ModelSpec(name=options.model) if options.model else ModelSpec()
    else:
        run = open_run(settings.runs, options.run)
        spec, record = run.spec(), run.record()
        # What a run in training has between two checkpoints is in its worker's memory alone.
        found = [one for one in run_checkpoints(run) if one.step is not None or record.status not in ACTIVE]
        steps = sorted({record.step if one.step is None else one.step for one in found})
        if options.steps:
            known, steps = steps, [_number(text) for text in options.steps.split(",")]
            if missing := ", ".join(str(step) for step in steps if step not in known):
                kept = ", ".join(map(str, known)) or "none yet"
                raise SpecError(f"Run {run.id} has no checkpoint of step {missing}: choose from {kept}.")
        content |= {"run_id": run.id, "model": spec.model, "data": spec.data, "steps": steps, "seed": spec.seed}
    try:
        return CaptureRequest.model_validate(content)
    except ValidationError as error:
        problem = error.errors()[0]
        raise SpecError(f"{problem['loc'][0]} = {problem['input']!r}: {problem['msg']}.") from error


def _number(text: str) -> int:
    if not text.strip().isdecimal():
        raise SpecError(f"'{text}' is no step: write numbers, such as --steps 50,100.")
    return int(text)
