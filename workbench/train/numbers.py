"""Numbers as they are typed: read, and what is wrong with one in words. Knows spec fields, nothing of widgets.

A number field is a text field: a browser's own number box keeps what it refuses on the screen while the page goes on
with the value before, so that a run could start with another number than the one that is seen.
"""

from typing import Any

from pydantic.fields import FieldInfo

from engine.records.spec import RunSpec

# Of a whole number that has no limit of its own.
LARGEST = 2**31 - 1


def field_info(path: str) -> FieldInfo:
    """'loss.space' -> the field of the spec."""
    part: Any = RunSpec
    *outer, last = path.split(".")
    for name in outer:
        part = part.model_fields[name].annotation
    return part.model_fields[last]


def is_number(path: str) -> bool:
    return field_info(path).annotation in (int, float)


def written(value: Any) -> str:
    """A number as its field shows it; what is no number, as it was typed."""
    if isinstance(value, float):
        short = f"{value:.12g}"
        # What is read back must be the number that was written.
        return short if float(short) == value or value != value else repr(value)
    return "" if value is None else str(value)


def read_number(path: str, text: str) -> int | float | str:
    """The number that was typed, or the text itself where it is none that this field's kind can hold."""
    text = text.strip()
    try:
        return int(text) if field_info(path).annotation is int else float(text)
    except ValueError:
        pass
    try:
        value = float(text)
        return int(value) if value == int(value) else text
    except (ValueError, OverflowError):
        return text


def number_problem(path: str, value: Any) -> str:
    """What is wrong with a value, with what to write instead; '' where nothing is."""
    whole, (low, above, high, below) = field_info(path).annotation is int, _limits(path)
    wanted = f"write {_range(low, above, high, below, whole=whole)}."
    if value is None or (isinstance(value, str) and not value.strip()):
        return f"This field is empty: {wanted}"
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        shown = f"“{written(value)[:40]}”"
        part_of_one = whole and isinstance(value, str) and _is_float(value)
        return f"{shown} is no {'whole ' if part_of_one else ''}number: {wanted}"
    if low is not None and (value <= low if above else value < low):
        return f"{written(value)} is too small: {wanted}"
    if high is not None and (value >= high if below else value > high):
        limits = _range(low, above, high, below, whole=whole, tell_largest=True)
        return f"{written(value)[:24]} is too large: write {limits}."
    return ""


def _limits(path: str) -> tuple[float | None, bool, float | None, bool]:
    """Lowest value and whether it is itself refused, highest value and whether it is."""
    found = {
        name: getattr(one, name)
        for one in field_info(path).metadata
        for name in ("ge", "gt", "le", "lt")
        if getattr(one, name, None) is not None
    }
    largest = LARGEST if field_info(path).annotation is int else float("1e30")
    return found.get("ge", found.get("gt")), "gt" in found, found.get("le", found.get("lt", largest)), "lt" in found


def _range(
    low: float | None, above: bool, high: float | None, below: bool, *, whole: bool, tell_largest: bool = False
) -> str:
    kind = "a whole number" if whole else "a number"
    bottom = "" if low is None else f"above {low:g}" if above else f"of at least {low:g}"
    # Limits that only keep a computer from stumbling are told when one is met.
    untold = high is None or (high in (LARGEST, 1e30) and not tell_largest)
    top = "" if untold else f"below {high:g}" if below else f"at most {high:,.12g}"
    if low is not None and top and not above and not below:
        return f"{kind} from {low:,.12g} to {high:,.12g}"
    return " ".join(part for part in (kind, f"{bottom} and {top}" if bottom and top else bottom or top) if part)


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
