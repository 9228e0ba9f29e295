"""Where a text that comes in pieces ends: before the first of some words. Knows nothing of where it comes from."""

from collections.abc import Sequence


class StopWords:
    """Passes pieces on, and holds back what may still become one of the stops."""

    def __init__(self, stops: Sequence[str]) -> None:
        self.stops = stops
        self.held = ""
        self.reached = False

    def pass_on(self, piece: str) -> str:
        """What may be said now; '' once a stop is reached."""
        if self.reached:
            return ""
        text = self.held + piece
        found = [place for stop in self.stops if (place := text.find(stop)) >= 0]
        if found:
            self.reached, self.held = True, ""
            return text[: min(found)]
        keep = max((_opening(text, stop) for stop in self.stops), default=0)
        self.held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def rest(self) -> str:
        """What was held back, where the text has ended by itself."""
        held, self.held = self.held, ""
        return held


def _opening(text: str, stop: str) -> int:
    """How many letters at the end of the text are the beginning of the stop."""
    lengths = range(min(len(text), len(stop) - 1), 0, -1)
    return next((length for length in lengths if text.endswith(stop[:length])), 0)
