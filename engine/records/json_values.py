"""JSON that a model wrote, and values of tables, so that whatever they hold can be written again. Knows nothing of
calls."""

import json
import math
from datetime import date, time, timedelta
from decimal import Decimal
from json import JSONDecodeError
from typing import Any, NoReturn

# Deeper ones are refused by what writes records and by chat templates.
DEEPEST = 64


class Unreadable(Exception):
    """Why it cannot be read, as the end of a sentence that begins with "since". is_of_a_call: it was surely a call.
    spoils_all: what was read before it does not count either."""

    def __init__(self, reason: str, *, is_of_a_call: bool = False, spoils_all: bool = False) -> None:
        super().__init__(reason)
        self.is_of_a_call, self.spoils_all = is_of_a_call, spoils_all


def read_value(text: str, start: int) -> tuple[Any, int]:
    """The JSON value that begins there, and where it ends. Line breaks within texts are let pass, since models write
    them; of a name that an object has twice the last counts. Raises Unreadable."""
    try:
        return _DECODER.raw_decode(text, start)
    except RecursionError:
        raise Unreadable(f"it is nested deeper than {DEEPEST} levels") from None
    except JSONDecodeError as error:
        ended = error.msg.startswith("Unterminated string") or not text[error.pos :].strip()
        raise Unreadable(
            "it breaks off before its end" if ended else f"its letter {error.pos - start + 1} is no JSON"
        ) from None
    except ValueError as error:
        # Numbers of thousands of digits, and those that are none.
        raise Unreadable(str(error) if isinstance(error, _NoNumber) else "it holds a number too long to read") from None


def need_plain(value: Any) -> None:
    """Raises Unreadable for what could be read and not be written again: deep nesting, half characters, numbers that
    are none."""
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [inner for one in level for inner in _within(one)]
        if not level:
            break
    else:
        raise Unreadable(f"it is nested deeper than {DEEPEST} levels")
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        raise Unreadable("it holds half a character") from None
    except TypeError:
        raise Unreadable("it holds a value that JSON does not have, such as a date") from None
    except ValueError:
        raise Unreadable("it holds a number that is none, such as NaN") from None


def as_text(value: Any) -> str:
    """For json's `default`: a value that tables have and JSON does not, always the same; of any other its kind."""
    return str(value) if isinstance(value, date | time | timedelta | Decimal | bytes) else type(value).__name__


class _NoNumber(ValueError):
    """NaN, and what is too large for a number of its kind."""


def _constant(word: str) -> NoReturn:
    raise _NoNumber(f"it holds {word}, which is no JSON")


def _number(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise _NoNumber(f"it holds {digits[:40]}, a number too large to keep")
    return number


def _within(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value.values()]
    return value if isinstance(value, list) else []


_DECODER = json.JSONDecoder(strict=False, parse_constant=_constant, parse_float=_number)
