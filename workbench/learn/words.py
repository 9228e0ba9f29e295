"""What a check asks for, and where a view is, in words for a teacher's sheet. Pure: knows nothing of Streamlit."""

from engine.records.lessons.lesson import (
    Answer,
    Asked,
    Captured,
    Check,
    Evaluated,
    Looked,
    PausedAndResumed,
    RunExists,
    View,
)


def check_words(check: Check) -> str:
    """One sentence; of a question the right answer with its reason."""
    match check:
        case Answer():
            return f"“{check.question}” Answer: {answer_words(check)}. {check.why}"
        case RunExists():
            return _sentence("A run of the learner's own", _run_parts(check))
        case PausedAndResumed():
            return "A run of the learner's own was paused and went on."
        case Asked():
            return _sentence("A message was asked and answered", _asked_parts(check))
        case Captured():
            whose = {"base": "of a base model alone", "run": "of a run", "any": "of a run or a base model"}[check.of]
            return f"Activations {whose} were captured, at least {check.prompts} prompts."
        case Looked():
            what = {"map": "A map", "separation": "The separation at every block", "tokens": "The tokens of a prompt"}
            return _sentence(f"{what[check.at]} was drawn", [check.method, _blocks(check.blocks), _of(check.run)])
        case Evaluated():
            tools = "with requests to agents" if check.tools else ""
            attacks = f"under {', '.join(check.attacks)}" if check.attacks else ""
            return _sentence("An evaluation was made", [attacks, tools, _of(check.run)])


def answer_words(check: Answer) -> str:
    """The right answer as the learner would give it."""
    if check.number is not None:
        return f"{check.number:g}" + (f", give or take {check.tolerance:g}" if check.tolerance else "")
    return f"{check.right}. {check.choices[(check.right or 1) - 1]}"


def view_words(view: View) -> str:
    """'representations: run shipped, block 19'."""
    said = ", ".join(f"{name} {value}" for name, value in view.settings.items())
    return view.page.replace("_", " ") + (f": {said}" if said else "")


def _run_parts(check: RunExists) -> list[str]:
    return [
        f"preset {check.preset}" if check.preset else "",
        check.status,
        f"held-out harmful cosine below {check.cosine_below:g}" if check.cosine_below is not None else "",
        f"held-out harmful cosine above {check.cosine_above:g}" if check.cosine_above is not None else "",
        f"held-out benign cosine above {check.benign_above:g}" if check.benign_above is not None else "",
        f"target {_blocks(check.targets)}" if check.targets else "",
        *(f"{name} {value}" for name, value in check.settings.items()),
    ]


def _asked_parts(check: Asked) -> list[str]:
    steered = f"steered by at least {check.steered:g} {_blocks(check.blocks)}" if check.steered else ""
    return [
        check.label,
        "behind a prefill" if check.prefill else "",
        "with a forced call" if check.forced_call else "",
        steered.strip(),
        "and its breaker tripped" if check.tripped else "",
        _of(check.run),
    ]


def _of(run: str) -> str:
    return f"of the run {run}" if run else ""


def _blocks(blocks: tuple[int, int] | None) -> str:
    return f"block {blocks[0]} to {blocks[1]}" if blocks else ""


def _sentence(start: str, parts: list[str]) -> str:
    said = ", ".join(part for part in parts if part)
    return f"{start}: {said}." if said else f"{start}."
