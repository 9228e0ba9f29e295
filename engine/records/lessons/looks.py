"""What the learner has made and looked at: captures, maps, examinations, tokens, evaluations. Reads files alone."""

from collections.abc import Iterator
from itertools import product

from engine.records.captures.capture import Capture, read_capture, run_captures
from engine.records.captures.projections import Method, ProjectionRequest, projection_file, read_examination
from engine.records.errors import RunError, WorkbenchError
from engine.records.evaluation.findings import Evaluation, evaluations_folder, read_evaluations
from engine.records.lessons.lesson import Looked
from engine.records.runs import list_runs
from engine.records.settings import SAMPLE_DATA, Settings

METHODS: tuple[Method, ...] = ("pca", "umap", "difference", "probe", "movement")


def captures_made(settings: Settings) -> list[Capture]:
    """Captures that were made on this machine, of base models alone too; those that ship are left out."""
    return [one for one in _captures(settings) if not one.folder.is_relative_to(SAMPLE_DATA)]


def looked_at(check: Looked, settings: Settings, run: str) -> Capture | None:
    """The capture of which there is what the check asks for; None where there is none. run: of this run alone."""
    for capture in _captures(settings, run):
        if len(capture.index.prompts) < check.prompts:
            continue
        if check.at == "map" and any(projection_file(capture, one).is_file() for one in _requests(check, capture)):
            return capture
        if check.at == "separation" and any(map(read_examination, capture.results_folder.glob("examinations/*.json"))):
            return capture
        if check.at == "tokens" and any(capture.results_folder.glob("tokens/*.json")):
            return capture
    return None


def evaluations_made(settings: Settings) -> Iterator[tuple[str, Evaluation]]:
    """Evaluations that were made on this machine, with the ids of their runs; those that ship are left out."""
    for run in list_runs(settings.runs):
        own = {file.stem for file in evaluations_folder(run, settings).glob("*.json")}
        try:
            yield from ((run.id, one) for one in read_evaluations(run, settings) if one.key in own)
        except WorkbenchError:
            continue


def _captures(settings: Settings, of: str = "") -> Iterator[Capture]:
    """of: the id of a run; '' for those of all runs and of base models alone."""
    for run_id in (of,) if of else (run.id for run in list_runs(settings.runs)):
        try:
            yield from run_captures(settings, run_id)
        except RunError:
            continue
    for file in () if of else sorted((settings.cache / "captures").glob("*/capture.json")):
        try:
            capture = read_capture(file.parent)
        except RunError:
            continue
        if capture is not None and not capture.index.run_id:
            yield capture


def _requests(check: Looked, capture: Capture) -> Iterator[ProjectionRequest]:
    """Every map that the page offers of this capture and that the check would take."""
    index = capture.index
    low, high = check.blocks or (0, index.block_count)
    blocks = [block for block in index.blocks if low <= block <= high]
    methods = [method for method in METHODS if check.method in ("", method)]
    spaces, dimensions = ("standardised", "raw"), (2, 3)
    for tokens, block, method, space, axes in product(index.tokens, blocks, methods, spaces, dimensions):
        yield ProjectionRequest(
            run_id=index.run_id,
            key=index.key,
            digest=index.digest,
            checkpoints=index.checkpoints,
            tokens=tokens,
            block=block,
            method=method,
            dimensions=axes,  # type: ignore[arg-type]
            space=space,  # type: ignore[arg-type]
        )
