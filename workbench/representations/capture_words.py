"""What is said of a run's captures beside the figures. Knows nothing of Streamlit or of vectors."""

from engine.records.captures.capture import TRAINING, Capture
from engine.records.runs import Run


def expected_words(run: Run) -> str:
    """When an active run that has captured nothing yet will capture something."""
    captures = run.spec().captures
    if captures.capture_every and captures.capture_prompts:
        return "The first activations are kept soon after it begins."
    never = "captures.capture_every" if not captures.capture_every else "captures.capture_prompts"
    if captures.final_prompts:
        return f"Its spec keeps activations at its end alone ({never} is 0)."
    return (
        f"Its spec keeps no activations ({never} and captures.final_prompts are 0): once it has a checkpoint, choose "
        "that step above and capture it."
    )


def strength_words(run: Run, capture: Capture) -> str:
    """Where what was captured in training is not the finished adapter: of which step, and how far; else ''."""
    record, strength = run.record(), run.spec().adapter.strength
    if capture.index.key != TRAINING or strength == 1 or record.status != "finished":
        return ""
    if record.step not in capture.steps:
        return ""
    return (
        f"Step {record.step} was captured at the strength of the training: the finished adapter, which Tokens reads "
        f"and a new capture of this step holds, acts {strength:g} times as strongly."
    )
