"""A capture whose prompts show pictures, for tests that need no model. No fixtures."""

from pathlib import Path

from making_captures import write_capture
from making_seers import painted

from engine.records.captures.capture import Capture, read_capture, write_index
from engine.records.captures.thumbnails import write_thumbnails
from engine.records.pictures import picture_at


def write_shown_capture(folder: Path, *, each: int, pictures: Path, kept: int, **more) -> Capture:
    """Of `each` harmful and as many benign prompts, of which each shows a wide picture of its own; of the first
    `kept` prompts there is a small copy."""
    made = write_capture(folder, harmful=each, benign=each, **more)
    pictures.mkdir(exist_ok=True)
    shown = [
        picture_at(painted(pictures / f"{seed}.png", seed=seed, size=(400, 30)))
        for seed in range(len(made.index.prompts))
    ]
    write_thumbnails(made.folder, shown[:kept])
    prompts = tuple(
        prompt.model_copy(update={"pictures": (picture.sha256,)})
        for prompt, picture in zip(made.index.prompts, shown, strict=True)
    )
    write_index(made.folder, made.index.model_copy(update={"prompts": prompts}))
    found = read_capture(made.folder)
    assert found is not None
    return found
