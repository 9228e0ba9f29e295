"""Ask for a capture: which prompts, blocks, tokens and steps. Knows nothing of how activations are captured."""

import json
from functools import partial
from typing import Any

import streamlit as st
from pydantic import ValidationError

from engine.records.blocks import parse_blocks
from engine.records.captures.capture import (
    AVERAGED,
    BASE,
    CaptureRequest,
    capture_folder,
    checkpoint_name,
    end_of,
    read_capture,
)
from engine.records.cards import read_model_card
from engine.records.errors import RunError, SpecError
from engine.records.runs import ACTIVE, Run
from engine.records.spec import field_description
from engine.records.spec_parts import DataSpec, ModelSpec
from workbench.kit.cards import model_payload
from workbench.kit.state import CAPTURE, CAPTURING, DRAFT, RUN, queue, settings
from workbench.kit.waiting import awaited
from workbench.kit.words import plain
from workbench.representations.choices import TOKEN_WORDS
from workbench.representations.opened import opened, turn_to

SPLITS = ("train", "validation", "test")


def capture_form(run: Run | None, *, opened: bool) -> None:
    """The form, and below it what the worker does about it."""
    name = run.id if run else "base"
    with st.expander("New capture", icon=":material/add_a_photo:", expanded=opened, key=f"new_capture_{name}_{opened}"):
        st.caption(
            "The worker reads the chosen prompts with their answers once and keeps the activations of the chosen "
            "blocks, of the base model"
            + (" and of the run at the chosen steps." if run else " alone: it needs no training.")
        )
        with st.form(f"capture_{name}", border=False):
            fields = _sources(run) | _prompts(run) | _tokens() | {"averaged": AVERAGED}
            steps = _steps(run) if run else ()
            if st.form_submit_button("Capture", type="primary", icon=":material/add_a_photo:"):
                _ask(run, fields, steps)
    _follow()


def _sources(run: Run | None) -> dict:
    if run is not None:
        spec = run.spec()
        return {"run_id": run.id, "model": spec.model, "data": spec.data}
    draft = st.session_state.get(DRAFT)
    known = draft.content if draft else {}
    defaults = {
        "model.name": ModelSpec().name,
        "data.circuit_breaker": "sample:harmful",
        "data.retain": "sample:benign",
    }
    labels = {"model.name": "Model", "data.circuit_breaker": "Harmful set", "data.retain": "Benign set"}
    given = {}
    for column, (path, default) in zip(st.columns(3), defaults.items(), strict=True):
        given[path] = column.text_input(
            labels[path], known.get(path, default), key=f"capture_{path}", help=field_description(path)
        )
    parts = {part: _as_drafted(draft.valid if draft else {}, part, given) for part in ("model", "data")}
    fields = {"model": ModelSpec.model_fields, "data": DataSpec.model_fields}
    chosen = [
        f"`{part}.{name}` {json.dumps(value)}"
        for part, values in parts.items()
        for name, value in values.items()
        if f"{part}.{name}" not in given and value != fields[part][name].get_default(call_default_factory=True)
    ]
    if chosen:
        st.caption(f"As in the draft on Train: {', '.join(chosen)}.")
    return parts


def _as_drafted(draft: dict[str, Any], part: str, given: dict[str, str]) -> dict[str, Any]:
    """A part of the request with what is named here; all else of it as the draft has it, where that names the same."""
    named = {path.partition(".")[2]: text.strip() for path, text in given.items() if path.startswith(f"{part}.")}
    drafted = {path.partition(".")[2]: value for path, value in draft.items() if path.startswith(f"{part}.")}
    return drafted if drafted.items() >= named.items() else named


def _prompts(run: Run | None) -> dict:
    own = run.spec().seed if run else 0
    per_side, splits, blocks, seed = st.columns([1, 1.6, 1.2, 0.8])
    about = CaptureRequest.model_fields
    return {
        "prompts_per_side": per_side.number_input(
            "Prompts a side", 1, 10_000, 48, key="capture_prompts", help=about["prompts_per_side"].description
        ),
        "splits": splits.multiselect(
            "Splits", SPLITS, ["validation", "test"], key="capture_splits", help=about["splits"].description
        ),
        "blocks": blocks.text_input("Blocks", "0%-100%", key="capture_blocks", help=about["blocks"].description),
        "seed": seed.number_input(
            "Seed", 0, None, own, key=f"capture_seed_{run.id if run else ''}", help=about["seed"].description
        ),
    }


def _tokens() -> dict:
    which, position = st.columns([3, 1])
    return {
        "tokens": which.multiselect(
            "Tokens",
            list(TOKEN_WORDS),
            ["last_prompt", "response_mean"],
            format_func=TOKEN_WORDS.__getitem__,
            key="capture_tokens",
            help="Which tokens' activations are kept. 'every token' keeps a vector a token: choose few prompts and "
            "blocks.",
        ),
        "position": position.number_input(
            "Answer token", 1, key="capture_position", help="For 'chosen position': 1 is the answer's first token."
        )
        - 1,
    }


def _steps(run: Run) -> tuple[int, ...]:
    known = captured_steps(run)
    if not known:
        st.caption(
            ":material/info: This run has no checkpoint and no adapter yet: only the base model can be captured."
        )
        return ()
    return tuple(
        st.multiselect(
            "Steps",
            known,
            [end_of(known, kept=run.record().step)],
            key=f"capture_steps_{run.id}",
            help="Checkpoints of the run, and its last step.",
        )
    )


def captured_steps(run: Run) -> list[int]:
    """The steps whose weights are kept: checkpoints, and the end where there is an adapter that no training moves."""
    names = [path.name.removeprefix("step-") for path in run.checkpoints_folder.glob("step-*") if path.is_dir()]
    steps = {int(name) for name in names if name.isdecimal()}
    record = run.record()
    if record.status not in ACTIVE and (run.adapter_folder / "adapter_config.json").is_file():
        steps.add(record.step)
    return sorted(step for step in steps if step > 0)


def _ask(run: Run | None, fields: dict, steps: tuple[int, ...]) -> None:
    try:
        request = CaptureRequest.model_validate(fields | {"steps": sorted(steps)})
        card = read_model_card(settings().cards, model_payload(request.model))
        parse_blocks(request.blocks, card.block_count if card else 10_000)
    except SpecError as error:
        st.error(plain(str(error)), icon=":material/error:")
        return
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        st.error(plain(f"{where}: {first['msg']}. Nothing was captured."), icon=":material/error:")
        return
    asked = request.model_dump_json()
    # Also for what is there: the worker finds out whether a prompt file has changed since.
    _asked()[asked] = queue().submit("capture", payload=json.loads(asked))


def _follow() -> None:
    """The captures that were asked for: progress until one is there, then it is the one that is shown."""
    requests = {asked: CaptureRequest.model_validate_json(asked) for asked in _asked()}
    for asked, request in requests.items():
        own, job = request.run_id or BASE, _asked()[asked]
        what = "Capture" if opened(RUN) == own else f"Capture of {own}"
        if [one.run_id for one in requests.values()].count(request.run_id) > 1:
            steps = f"steps {', '.join(map(str, request.steps))}" if request.steps else "the base model alone"
            what += f" ({request.prompts_per_side} prompts a side, blocks {request.blocks}, {steps})"
        with st.container(key=f"capture_progress_{job}"):
            done = awaited(
                "capture",
                json.loads(asked),
                what=what,
                ready=partial(_is_there, request, job),
                place=f"capture_{job}",
                leave=partial(_forget, asked),
                seconds=1.0,
            )
        if done:
            _forget(asked)
            if opened(RUN) == own:
                # Not where another run was chosen meanwhile: the capture is in the list of its own run.
                turn_to(CAPTURE, request.key)
            st.rerun()


def _asked() -> dict[str, int]:
    """What was asked for in this session and is not there yet, and the number of its first job."""
    return st.session_state.setdefault(CAPTURING, {})


def _forget(asked: str) -> None:
    _asked().pop(asked, None)


def _is_there(request: CaptureRequest, job_id: int) -> bool:
    job = queue().job(job_id)
    if job is not None and job.status in ("queued", "running"):
        return False
    try:
        capture = read_capture(capture_folder(settings(), request.run_id, request.key))
    except RunError:
        return False
    wanted = {BASE, *map(checkpoint_name, request.steps)}
    if capture is None or not wanted <= set(capture.index.checkpoints) or not all(map(capture.holds, wanted)):
        return False
    return not request.steps or (capture.has_random and capture.index.random >= max(request.steps))
