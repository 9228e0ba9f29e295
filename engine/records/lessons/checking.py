"""Whether a check is met, read from the learner's own records, and in words what is missing. No torch, no writing."""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from engine.records.chats.asked import Column
from engine.records.chats.chat import Chat, Exchange, list_chats
from engine.records.chats.replies import Reply
from engine.records.errors import DataError, RunError, WorkbenchError
from engine.records.events import Control
from engine.records.lessons.lesson import (
    SHIPPED,
    Answer,
    Asked,
    Captured,
    Check,
    Evaluated,
    Looked,
    PausedAndResumed,
    RunExists,
)
from engine.records.lessons.looks import captures_made, evaluations_made, looked_at
from engine.records.lessons.progress import Given
from engine.records.prompt_files import read_source
from engine.records.runs import Record, Run, list_runs, open_run
from engine.records.settings import Settings
from engine.records.shipped import shipped_run
from engine.records.spec import flat

# Of very many chats the newest: a check is read again and again while its step is open.
NEWEST_CHATS = 100
TRIPPED_BELOW = 0.5


class Judged(NamedTuple):
    """met: whether it is.  words: by what, or what is missing; one sentence.  run: which run met it, '' for none."""

    met: bool
    words: str
    run: str = ""


def judge(check: Check, settings: Settings, given: Sequence[Given] = ()) -> Judged:
    """given: the answers to a question so far. A check that names a run which is gone is not met, and says so."""
    try:
        match check:
            case Answer():
                return _answer(check, given)
            case RunExists():
                return _run_exists(check, settings)
            case PausedAndResumed():
                return _paused(settings)
            case Asked():
                return _asked(check, settings)
            case Captured():
                return _captured(check, settings)
            case Looked():
                return _looked(check, settings)
            case Evaluated():
                return _evaluated(check, settings)
    except RunError as error:
        return Judged(False, f"This step cannot be checked. {error}")


def run_named(name: str, settings: Settings) -> Run:
    """A run by its id, or the one that ships. Raises RunError where it is not there."""
    if name != SHIPPED:
        return open_run(settings.runs, name)
    shipped = shipped_run(settings.runs)
    if shipped is None:
        raise RunError("The run that ships is hidden or was removed: unset WORKBENCH_SHIPPED_RUNS, or install anew.")
    return shipped


def is_right(check: Answer, text: str) -> bool:
    """Whether an answer is right: the number of a choice, counted from 1, or a number within the tolerance. What
    stands beside the one number of a text, such as its unit, does not matter."""
    value = _number(text)
    if value is None:
        return False
    if check.number is None:
        return value == check.right
    return abs(value - check.number) <= check.tolerance + 1e-9


def _number(text: str) -> float | None:
    """The one number in a text; None with none or several."""
    found = re.findall(r"[-+\u2212]?\d+(?:[.,]\d+)?", text)
    return float(found[0].replace(",", ".").replace("\u2212", "-")) if len(found) == 1 else None


def _answer(check: Answer, given: Sequence[Given]) -> Judged:
    if not given:
        return Judged(False, "Not answered yet.")
    if is_right(check, given[-1].text):
        return Judged(True, f"Right. {check.why}")
    if _number(given[-1].text) is None:
        return Judged(False, "Give one number, such as 12 or 0.5.")
    return Judged(False, "Not right: look again, or open a hint.")


def _own_runs(settings: Settings) -> Iterator[tuple[Run, Record]]:
    for run in list_runs(settings.runs):
        if run.read_only:
            continue
        try:
            yield run, run.record()
        except WorkbenchError:
            continue


def _run_exists(check: RunExists, settings: Settings) -> Judged:
    missing = "There is no run of yours yet."
    for run, record in reversed(list(_own_runs(settings))):
        wrong = _lacks(check, run, record)
        if not wrong:
            return Judged(True, f"Met by {run.name}.", run.id)
        missing = f"{run.name}: {wrong}."
    return Judged(False, missing)


def _lacks(check: RunExists, run: Run, record: Record) -> str:
    """What this run lacks, '' where it lacks nothing."""
    if check.preset and record.preset != check.preset:
        return f"it is not of the preset {check.preset}"
    try:
        spec = flat(run.spec())
    except RunError:
        return "its spec cannot be read"
    for name, value in check.settings.items():
        if spec[name] != value:
            return f"its {name} is {spec[name]}, not {value}"
    if check.targets:
        if not record.targets:
            return "it does not say yet which blocks it targets"
        low, high = check.targets
        if not all(low <= block <= high for block in record.targets):
            return f"its target blocks are {', '.join(map(str, record.targets))}, not within {low} to {high}"
    if check.status == "begun":
        return "" if record.step or record.status != "queued" else "it has not begun"
    if record.status != check.status and not (check.status == "stopped" and record.status == "finished"):
        return f"it is {record.status}, not {check.status}"
    return _beyond(check, record)


def _beyond(check: RunExists, record: Record) -> str:
    def heldout(name: str) -> float | None:
        return record.figures.get(f"heldout_{name}", record.figures.get(f"validation_{name}"))

    wanted = (
        ("harmful", heldout("cosine"), check.cosine_below, -1, "below"),
        ("harmful", heldout("cosine"), check.cosine_above, 1, "above"),
        ("benign", heldout("benign_cosine"), check.benign_above, 1, "above"),
    )
    for side, value, bound, sign, word in wanted:
        if bound is None:
            continue
        if value is None:
            return f"its held-out {side} cosine was not measured"
        if not sign * value > sign * bound:
            return f"its held-out {side} cosine is {value:.2f}, not {word} {bound:g}"
    return ""


def _paused(settings: Settings) -> Judged:
    said = ""
    for run, _ in _own_runs(settings):
        controls = _controls(run)
        if "pause" in controls and "resume" in controls[controls.index("pause") :]:
            return Judged(True, f"{run.name} was paused and went on.", run.id)
        if "pause" in controls:
            said = said or f"{run.name} was paused and has not gone on yet."
    return Judged(False, said or "No run of yours was paused yet.")


def _controls(run: Run) -> tuple[Control, ...]:
    try:
        stat = run.events_file.stat()
    except OSError:
        return ()
    return _read_controls(run, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=1000)
def _read_controls(run: Run, _written: int, _size: int) -> tuple[Control, ...]:
    return tuple(event.control for event in run.controls())


def _asked(check: Asked, settings: Settings) -> Judged:
    run = run_named(check.run, settings).id if check.run else ""
    found = False
    for chat, number, exchange in _exchanges(settings):
        found = True
        if not _is_asked(check, exchange, run):
            continue
        reply = chat.reply(number)
        if reply.answered is not None and (not check.tripped or _has_tripped(reply)):
            asked = next((column.checkpoint.run_id for column in exchange.columns if column.checkpoint.run_id), "")
            return Judged(True, "You asked it, and it was answered.", asked)
    return Judged(False, "None of your questions was of this kind yet." if found else "You have asked nothing yet.")


def _exchanges(settings: Settings) -> Iterator[tuple[Chat, int, Exchange]]:
    for chat in islice(list_chats(settings), NEWEST_CHATS):
        for number in chat.numbers():
            try:
                yield chat, number, chat.exchange(number)
            except RunError:
                continue


def _is_asked(check: Asked, exchange: Exchange, run: str) -> bool:
    label = "harmful" if exchange.harmful else "borderline" if exchange.prompt_id in _borderline() else "benign"
    return (
        check.label in ("", label)
        and (not check.prefill or bool(exchange.prefill.strip()))
        and (not check.forced_call or exchange.forced is not None)
        and (not run or any(column.checkpoint.run_id == run for column in exchange.columns))
        and (check.steered is None or any(_is_steered(check, column) for column in exchange.columns))
    )


def _is_steered(check: Asked, column: Column) -> bool:
    steering = column.steering
    if steering is None or check.steered is None or abs(steering.strength) < check.steered:
        return False
    return check.blocks is None or check.blocks[0] <= steering.block <= check.blocks[1]


def _has_tripped(reply: Reply) -> bool:
    return any(min(block, default=1.0) < TRIPPED_BELOW for trip in reply.trips for block in trip.cosines)


def _borderline() -> frozenset[str]:
    """The ids of sample prompts that only sound harmful, of those that offer tools, and of those that show pictures
    where these were fetched."""
    found: frozenset[str] = frozenset()
    for source in ("sample:benign", "tools:benign", "pictures:benign"):
        with suppress(DataError):
            found |= _borderline_of(source)
    return found


# What raises is not remembered: pictures may be fetched later.
@lru_cache(maxsize=4)
def _borderline_of(source: str) -> frozenset[str]:
    return frozenset(one.id for one in read_source(source, label="benign") if one.borderline)


def _captured(check: Captured, settings: Settings) -> Judged:
    made = captures_made(settings)
    of_kind = [one for one in made if check.of == "any" or (check.of == "base") == (not one.index.run_id)]
    for capture in of_kind:
        if len(capture.index.prompts) >= check.prompts:
            return Judged(True, f"You captured {len(capture.index.prompts)} prompts.", capture.index.run_id)
    if of_kind:
        most = max(len(one.index.prompts) for one in of_kind)
        return Judged(False, f"Your largest capture has {most} prompts, and this asks for {check.prompts}.")
    return Judged(False, "You have captured nothing of this kind yet.")


def _looked(check: Looked, settings: Settings) -> Judged:
    run = run_named(check.run, settings).id if check.run else ""
    capture = looked_at(check, settings, run)
    if capture is None:
        return Judged(False, "This was not looked at yet: open the view beside, and wait until it is drawn.")
    return Judged(True, "You looked at it.", capture.index.run_id)


def _evaluated(check: Evaluated, settings: Settings) -> Judged:
    run = run_named(check.run, settings).id if check.run else ""
    found = False
    for run_id, evaluation in evaluations_made(settings):
        if run and run_id != run:
            continue
        found = True
        others = evaluation.others.parts.values() if evaluation.others else ()
        parts = [one for one in (evaluation, evaluation.tools, evaluation.pictures, *others) if one is not None]
        attacks = {name for one in parts for name in one.attacks}
        if set(check.attacks) <= attacks and (evaluation.tools is not None or not check.tools):
            return Judged(True, f"You evaluated it under {len(attacks)} attack{'s' * (len(attacks) != 1)}.", run_id)
    return Judged(False, "No evaluation of yours is of this kind yet." if found else "You have evaluated nothing yet.")
