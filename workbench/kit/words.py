"""Numbers, times and events in the words of the screen. Knows nothing of Streamlit or files."""

import re
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from engine.records.events import AnyEvent
from engine.records.names import spoken_time

# What events call by a name that a reader of the screen need not know.
_PHASES = {"eliciting": "generating training answers"}
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:^=&])")


def told_apart(names: Mapping[str, str]) -> dict[str, str]:
    """Names by what they name, with that behind each that stands for several: a list that shows one name twice gives
    the first one, whichever is chosen."""
    often = Counter(names.values())
    return {of: f"{name} [{of}]" if often[name] > 1 else name for of, name in names.items()}


def plain(text: str) -> str:
    """Text that Markdown shows letter by letter: names, notes and error texts may hold anything."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def spreadsheet_cell(cell: Any) -> Any:
    """A cell of a file that a spreadsheet may open: words that it would take for a formula are quoted. Names, files,
    prompts and answers may be anybody's."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def counted(number: int, what: str) -> str:
    """'1 prompt', '3 prompts'."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def duration(seconds: float | None) -> str:
    """'42 s', '3 min 20 s', '2 h 5 min'; a dash when it is not known."""
    if seconds is None or seconds < 0:
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole < 600 else f"{round(whole / 60)} min"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole / 86400:.1f} days"


def memory(number: float) -> str:
    """Bytes as '1.4 GiB' or '310 MiB'."""
    gibibytes = number / 2**30
    return f"{gibibytes:.1f} GiB" if gibibytes >= 1 else f"{number / 2**20:.0f} MiB"


def moment(seconds: float | None) -> str:
    """A local date and time: '23 Nov 22:10'."""
    return spoken_time(seconds) if seconds else "–"


def clock(seconds: float) -> str:
    """A local time of day: '06:45'."""
    return time.strftime("%H:%M", time.localtime(seconds))


def place(number: int) -> str:
    """'1st', '2nd', '13th'."""
    ending = "th" if number // 10 % 10 == 1 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def phase_words(phase: str) -> str:
    """A phase of a job in the words of the screen."""
    return _PHASES.get(phase, phase)


def event_line(event: AnyEvent) -> str:
    """One event as one line of the log."""
    clock = time.strftime("%H:%M:%S", time.localtime(event.time))
    return f"{clock}  {event.kind:<10}  {_event_text(event)}"


def _event_text(event: AnyEvent) -> str:
    match event.kind:
        case "step":
            return (
                f"step {event.step}: rerouting {event.reroute_loss:.4f}, retain {event.retain_loss:.4f}, schedule "
                f"{event.reroute_weight:.3g} and {event.retain_weight:.3g}, gradient {event.gradient_norm:.3g}, "
                f"{event.tokens} tokens in {event.seconds:.2f} s"
            )
        case "heldout":
            return f"step {event.step}, {event.split}: cosine {event.mean_cosine:.3f}, drift {event.mean_drift:.3f}"
        case "probe":
            return f"step {event.step}: {len(event.answers)} probe answers"
        case "captured":
            return f"step {event.step}: activations captured in {event.seconds:.1f} s"
        case "checkpoint":
            return f"step {event.step}: {event.name}"
        case "progress":
            share = event.counted or (f" {event.done}" if event.done else "")
            return f"{phase_words(event.phase)}{share}" + (f" ({event.message})" if event.message else "")
        case "alert":
            return f"step {event.step}: {event.message} {event.advice}"
        case "notice":
            return event.message
        case "control":
            value = "" if event.value is None else f" = {event.value:g}"
            return f"{event.control}{value} from step {event.step} on"
        case "status":
            return f"{event.status} at step {event.step}" + (f": {event.message}" if event.message else "")
    return ""
