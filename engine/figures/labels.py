"""What figures and their tables write beside numbers: names of tokens, short numbers, texts letter by letter."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence


def escaped(text: str) -> str:
    """Text that a figure shows letter by letter: plotly reads tags in titles, names and ticks."""
    return text.replace("&", "&amp;").replace("<", "&lt;")


def in_hover(text: str) -> str:
    """The same within a hovertemplate, where plotly also puts values in the place of %{...}."""
    return escaped(text).replace("%{", "% {")


def token_name(place: int, *, answer_start: int = 0) -> str:
    """'answer token 1', 'prompt token 12': how a token is called everywhere. Each part is counted from 1.

    place, answer_start: counted from 0 over prompt and answer, as the engine does.
    """
    if place < answer_start:
        return f"prompt token {place + 1}"
    return f"answer token {place - answer_start + 1}"


def amount(number: float) -> str:
    """'135 M', '8.0 B', '512'."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            scaled = number / size
            return f"{scaled:.0f} {letter}" if scaled >= 100 else f"{scaled:.1f} {letter}"
    return f"{number:.0f}"


def figure(value: float | None, digits: int = 3) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def with_differences(
    names: Sequence[str],
    tells: Iterable[Sequence[str]],
    written: Callable[[str, str], str],
    *,
    kinds: Sequence[object] = (),
) -> list[str]:
    """Those of one name, and of one kind where kinds are given, with what they differ in, one thing after the other
    until none is like another. tells: of each thing what is said of each; '' says nothing.  written: a name with it."""
    found, kinds = list(names), kinds or [None] * len(names)
    for said in tells:
        words: dict[tuple[str, object], set[str]] = defaultdict(set)
        for name, kind, word in zip(found, kinds, said, strict=True):
            words[name, kind].add(word)
        found = [
            written(name, word) if len(words[name, kind]) > 1 and word else name
            for name, kind, word in zip(found, kinds, said, strict=True)
        ]
    return found
