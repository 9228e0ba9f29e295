"""`python -m engine evaluate`: attack a run's circuit breaker in the foreground and write what was found as JSON.

Exit codes: 0 done, 1 interrupted, 2 the run, a file, an attack or the place for the report is wrong (the message says
which). The run's folder gains a file in evaluations/; its weights are only read.
"""

import argparse
import json
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from engine.commands.counting import rest
from engine.commands.evaluation_summary import summary
from engine.compute.steps import drained
from engine.records.errors import DataError, RunError, SpecError
from engine.records.evaluation.attacks import ATTACKS, PICTURE_ATTACKS, PIXEL_ATTACKS, TEXT_ATTACKS, TOOL_ATTACKS
from engine.records.evaluation.findings import Evaluation
from engine.records.evaluation.naming import ABILITY as NAMING
from engine.records.evaluation.naming import read_namings
from engine.records.evaluation.pixels import PixelSearch
from engine.records.evaluation.plan import ABILITY_NAMES, OWN, EvaluationPlan, parse_attack
from engine.records.evaluation.tool_rows import GUARD, SAMPLE
from engine.records.events import Event, Progress
from engine.records.files import is_device, storage_error, write_whole
from engine.records.harmfulness import KINDS
from engine.records.others.authors import HALVES
from engine.records.others.reading import ROWS as OTHERS_ROWS
from engine.records.settings import Settings


def evaluate(options: argparse.Namespace, settings: Settings) -> int:
    """Evaluate one checkpoint of a run; figures go to --json, a summary to standard output."""
    plan = _with_naming(_plan(options), options, settings)
    out = Path(options.json) if options.json else None
    if out:
        check_writable(out)
    from engine.device import Device
    from engine.jobs.evaluation import evaluate as found_by

    steps = found_by(plan, Device(settings).tools(0))
    screen = _Screen()
    evaluation = drained(steps, screen.show)
    screen.close()
    if out:
        write_whole(out, json.dumps(evaluation.report(), indent=2) + "\n")
    print(summary(evaluation))
    for name in _asked_nothing(options, evaluation):
        print(f"  {name:<16} asked nothing: none of the requests is such as it is for", file=sys.stderr)
    return 0


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("run", metavar="RUN", help="run id, or RUN@STEP for a checkpoint")
    command.add_argument("--harmful", metavar="FILE.jsonl", help=_ROWS)
    command.add_argument(
        "--benign", metavar="FILE.jsonl", help=f"rows of the same form (default: {BENIGN}, none where {_OTHERS})"
    )
    command.add_argument("--tools", default="", metavar="FILE.jsonl", help=_TOOL_ROWS)
    command.add_argument("--pictures", default="", metavar="FILE.jsonl", help=_PICTURE_ROWS)
    command.add_argument("--others", default="", choices=["", *HALVES], help=_OTHERS_WORDS)
    command.add_argument(
        "--others-rows",
        type=int,
        help="of each label of an author, and of the run's own rows beside them, at most so many, evenly taken; 0: all "
        f"(default: {OTHERS_ROWS})",
    )
    command.add_argument(
        "--attack",
        action="append",
        metavar="NAME[:BUDGET]",
        help="may be given several times (default: direct and prefill, where tools are offered direct and "
        f"forced_call); one of {', '.join(ATTACKS)}",
    )
    command.add_argument(
        "--ability",
        action="append",
        metavar="NAME",
        help=f"also measure one of {', '.join(ABILITY_NAMES)}; several times (default: {NAMING} with --pictures, where "
        f"the named pictures are fetched; {NONE}: none)",
    )
    command.add_argument(
        "--questions", type=int, help="at most so many of each benchmark and category (default: as --limit); 0: all"
    )
    command.add_argument("--json", metavar="OUT", help="write the figures here")
    command.add_argument("--limit", type=int, default=0, help="at most this many rows a side, not of --others; 0: all")
    command.add_argument(
        "--tokens", type=int, help="length of an answer, in tokens (default: 64, where tools are offered 128)"
    )
    command.add_argument("--judge", default="rules", help="rules, a Hugging Face id, or an endpoint as URL#MODEL")
    command.add_argument(
        "--probe", default="", choices=["", *KINDS], help="also with the run's harmfulness probe of this kind"
    )
    command.add_argument(
        "--false-alarms", type=float, help="share of borderline answers it may end (default: what it was fitted for)"
    )
    _add_pixel_arguments(command)
    command.add_argument("--seed", type=int, default=0, help="source of all randomness (default: 0)")


def _add_pixel_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--epsilon", type=int, help="of attacks on pixels: how far every colour may move, of 255 (default: 32)"
    )
    command.add_argument("--step-size", type=float, help="of the same, of 255 (default: 2)")
    command.add_argument("--start", choices=STARTS, help="where a search of pixels begins (default: random)")
    command.add_argument(
        "--restarts", type=int, help="searches of which the one with the lowest loss is kept (default: 1)"
    )


HARMFUL, BENIGN = "strongreject", "sample:benign"
NONE = "none"
# Anywhere within the distance, or at the picture itself.
STARTS = ("random", "picture")
_OTHERS = "--tools, --pictures, --others or --ability alone is given"
_ROWS = (
    'rows {"prompt": ..., "target": optional}: the target\'s opening is the prefill, its text the one whose loss is '
    "measured; also strongreject, overrefusal, sample:NAME, or own for the run's own rows that it never trained on "
    f"(default: {HARMFUL}, none where {_OTHERS})"
)
_TOOL_ROWS = (
    'rows {"prompt": ..., "tools": [...], "call": {"name", "arguments"} optional, "harmful": true or false} of both '
    f"sides; also {SAMPLE} for the test split of the tools that ship, or {GUARD} for agent-action-guard's"
)
_PICTURE_ROWS = (
    'rows {"prompt": ..., "picture": path, "target": optional, "harmful": true or false} of both sides; paths are '
    f"relative to the file; also {SAMPLE} for the test split of those that ship, or pictures:NAME for one set of it"
)
_OTHERS_WORDS = (
    "also other people's words, each author apart, beside the run's own held-out rows: the development half, by which "
    "settings are chosen, or the test half (`fetch others`)"
)


def _plan(options: argparse.Namespace) -> EvaluationPlan:
    """--tools, --pictures, --others or --ability alone asks no other requests of text. An attack goes to the requests
    that it is for."""
    others = options.tools or options.pictures or options.others
    only_abilities = options.ability and options.ability != [NONE] and not options.attack and not options.probe
    asks_text = not (others or only_abilities) or options.harmful is not None or options.benign is not None
    # Whether the run's own rows offer tools or show pictures is seen when they are read. Pixels need some that do.
    is_own = options.harmful == OWN
    kinds = {
        "attacks": ("of text", TEXT_ATTACKS, asks_text or bool(options.others), "--harmful or --others"),
        "tool_attacks": ("such that offer tools", TOOL_ATTACKS, bool(options.tools) or is_own, "--tools"),
        "picture_attacks": ("such that show pictures", PICTURE_ATTACKS, bool(options.pictures) or is_own, "--pictures"),
    }
    given: dict[str, Any] = {}
    if options.tokens is not None:
        given = {"new_tokens": options.tokens, "tool_tokens": options.tokens}
    if options.attack:
        attacks = tuple(dict.fromkeys(parse_attack(text) for text in options.attack))
        for field, (_, names, is_asked, _) in kinds.items():
            given[field] = tuple(one for one in attacks if is_asked and one.name in names)
        if not options.pictures:
            given["picture_attacks"] = tuple(one for one in given["picture_attacks"] if one.name not in PIXEL_ATTACKS)
        for one in attacks:
            if not any(one in given[field] for field in kinds):
                asked = " and ".join(words for words, _, is_asked, _ in kinds.values() if is_asked)
                others = " or ".join(option for _, names, _, option in kinds.values() if one.name in names)
                raise SpecError(
                    f"The attack '{one.name}' is for other requests than those that are asked, which are {asked}: give "
                    f"{others}, or leave the attack out."
                )
    elif not asks_text and not options.others:
        given["attacks"] = ()
    _need_read(options, asks_rows=asks_text or bool(options.tools or options.pictures))
    try:
        if pixels := _pixels(options):
            given["pixels"] = PixelSearch(**pixels)
        return EvaluationPlan(
            checkpoint=options.run,
            harmful=(options.harmful or HARMFUL) if asks_text else "",
            benign=(options.benign or BENIGN) if asks_text else "",
            tools=options.tools,
            pictures=options.pictures,
            others=options.others,
            others_rows=OTHERS_ROWS if options.others_rows is None else options.others_rows,
            abilities=tuple(name for name in dict.fromkeys(options.ability or ()) if name != NONE),
            limit=options.limit,
            questions=options.questions,
            judge=options.judge,
            seed=options.seed,
            probe=options.probe,
            false_alarms=options.false_alarms,
            **given,
        )
    except ValidationError as error:
        problem = error.errors()[0]
        name = {"new_tokens": "tokens", "tool_tokens": "tokens"}.get(str(problem["loc"][-1]), str(problem["loc"][-1]))
        name = name.replace("_", "-")
        raise SpecError(f"--{name}: {problem['msg']}, not {problem['input']!r}.") from error


def _need_read(options: argparse.Namespace, *, asks_rows: bool) -> None:
    """Raises SpecError for an option that nothing would read."""
    measures = bool(options.ability and options.ability != [NONE])
    if options.false_alarms is not None and not options.probe:
        raise SpecError("--false-alarms is of the harmfulness probe: give --probe too, or leave it out.")
    if options.others_rows is not None and not options.others:
        raise SpecError("--others-rows is of other people's words: give --others too, or leave it out.")
    if options.questions is not None and not measures and not options.pictures:
        raise SpecError("--questions is of abilities: give --ability too, or leave it out.")
    if options.limit and not asks_rows and not measures:
        raise SpecError(
            f"--limit bounds no rows of --others: give --others-rows {options.limit}, or requests of your own too."
        )


def _with_naming(plan: EvaluationPlan, options: argparse.Namespace, settings: Settings) -> EvaluationPlan:
    """What a model that sees should keep is measured with what it is attacked by, unless abilities are named."""
    if not plan.pictures or options.ability is not None:
        return plan
    try:
        read_namings(settings, limit=1)
    except DataError as error:
        print(f"  {NAMING:<16} is not measured: {error}", file=sys.stderr)
        return plan
    return plan.model_copy(update={"abilities": (NAMING,)})


def _pixels(options: argparse.Namespace) -> dict[str, Any]:
    """The settings of a search of pixels that are given. Raises SpecError where no attack would read them."""
    start = None if options.start is None else options.start == "random"
    fields = {
        "epsilon": options.epsilon,
        "step_size": options.step_size,
        "random_start": start,
        "restarts": options.restarts,
    }
    given = {name: value for name, value in fields.items() if value is not None}
    attacks = [parse_attack(text).name for text in options.attack or ()]
    if given and not any(name in PIXEL_ATTACKS for name in attacks):
        option = "start" if "random_start" in given else next(iter(given)).replace("_", "-")
        raise SpecError(
            f"--{option} is a setting of attacks on pixels, and none is tried: give --attack "
            f"{' or --attack '.join(PIXEL_ATTACKS)}, or leave it out."
        )
    return given


def _asked_nothing(options: argparse.Namespace, evaluation: Evaluation) -> list[str]:
    """Attacks that were named and had no request that they are for: whether the run's own rows offer tools is seen when
    they are read."""
    authors = evaluation.others.parts.values() if evaluation.others else ()
    parts = [evaluation, *(part for part in (evaluation.tools, evaluation.pictures) if part), *authors]
    tried = {name for part in parts for name in part.attacks}
    return [
        name for name in dict.fromkeys(parse_attack(text).name for text in options.attack or ()) if name not in tried
    ]


def check_writable(out: Path) -> None:
    """Before an hour of work, not after it."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.is_dir():
            raise RunError(f"{out} is a folder: give the name of a file.")
        if not is_device(out):
            # As it will be written: under another name first.
            with tempfile.NamedTemporaryFile(dir=out.parent, prefix=f".{out.name}."):
                pass
    except OSError as error:
        raise storage_error(out, error) from error


class _Screen:
    """Progress on standard error: a bar a phase."""

    def __init__(self) -> None:
        self.bar = None
        self.phase = ""

    def show(self, event: Event | None) -> None:
        if not isinstance(event, Progress):
            return
        from tqdm import tqdm

        # Nobody may read it any more: the evaluation goes on.
        with suppress(OSError, ValueError):
            if event.phase != self.phase:
                self.close()
                self.phase = event.phase
                self.bar = tqdm(total=event.total or None, desc=event.message or event.phase, file=sys.stderr)
            if self.bar is not None:
                self.bar.n = event.done
                self.bar.refresh()
        rest(event)

    def close(self) -> None:
        bar, self.bar = self.bar, None
        with suppress(OSError, ValueError):
            if bar is not None:
                bar.close()
