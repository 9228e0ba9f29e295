"""Token views for a bundle: of the prompts that were opened in Representations, newest first.

A view is measured by both models, so that only those that are kept can be shown. Knows nothing of the page.
"""

from contextlib import suppress
from typing import Any, NamedTuple

from engine.figures.blocks import token_figure
from engine.figures.drawing import figure_content
from engine.figures.labels import token_name
from engine.records.captures.capture import BASE, Capture, CapturedPrompt, checkpoint_step, run_captures
from engine.records.captures.projections import TokenRequest, TokenView, read_token_view, token_file
from engine.records.captures.tables import trip_token
from engine.records.runs import Run
from engine.records.settings import Settings

MOST_VIEWS = 12
THRESHOLD = 0.5
MISSING = "No answer was looked at token by token: open some in Representations, Tokens, then write the file again."


class _Kept(NamedTuple):
    changed: float
    capture: Capture
    prompt: CapturedPrompt
    step: int
    view: TokenView


def token_views(run: Run, settings: Settings, *, harmful_text: bool) -> dict[str, Any]:
    """Figures of at most MOST_VIEWS answers: with numbers in the place of tokens, and, where the text may be shown,
    with tokens as well."""
    kept = sorted(_kept(run, settings), key=lambda one: one.changed, reverse=True)[:MOST_VIEWS]
    return {"views": [_content(one, harmful_text=harmful_text) for one in kept]} if kept else {"missing": MISSING}


def _kept(run: Run, settings: Settings) -> list[_Kept]:
    found = []
    for capture in run_captures(settings, run.id):
        if not (capture.results_folder / "tokens").is_dir():
            continue
        for checkpoint in capture.index.checkpoints:
            for prompt in capture.index.prompts if checkpoint != BASE else ():
                request = TokenRequest(
                    run_id=capture.index.run_id,
                    key=capture.index.key,
                    digest=capture.index.digest,
                    prompt_id=prompt.id,
                    checkpoint=checkpoint,
                )
                file = token_file(capture, request)
                with suppress(OSError):
                    changed = file.stat().st_mtime
                    if (view := read_token_view(file)) is not None:
                        found.append(_Kept(changed, capture, prompt, checkpoint_step(checkpoint), view))
    return found


def _content(kept: _Kept, *, harmful_text: bool) -> dict[str, Any]:
    prompt, view, index = kept.prompt, kept.view, kept.capture.index
    harmful = prompt.label == "harmful"
    trip = trip_token(view, index.targets, THRESHOLD)
    targets = [block for block in index.targets if block in view.blocks]
    where = "target" if targets else "captured"
    told = (
        f"The mean cosine at the {where} blocks stays above {THRESHOLD}: the breaker does not trip."
        if trip is None
        else f"The breaker trips at {token_name(trip, answer_start=view.response_start)}: there the mean cosine at the "
        f"{where} blocks falls below {THRESHOLD}."
    )
    shown = not harmful or harmful_text
    return {
        "prompt": prompt.id,
        "group": prompt.group,
        "step": kept.step,
        "harmful": harmful,
        "text": prompt.text if shown else None,
        "told": told,
        "numbers": _figure(view, trip, targets, hidden=True) if harmful else None,
        "figure": _figure(view, trip, targets, hidden=False) if shown else None,
    }


def _figure(view: TokenView, trip: int | None, targets: list[int], *, hidden: bool) -> dict[str, Any]:
    return figure_content(token_figure(view, trip=trip, hidden=hidden, targets=targets))
