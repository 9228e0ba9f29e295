"""Which mean over tokens a view takes of a capture. Knows nothing of tables or figures."""

from engine.records.captures.capture import Averaged, Capture


def over_answers(capture: Capture) -> Averaged | None:
    """The mean over an answer's tokens, where the capture has it."""
    return "answer" if "answer" in capture.index.averaged else None
