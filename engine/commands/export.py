"""`python -m engine export`: a run's adapter as a folder that can be uploaded to a hub as it is."""

import argparse
from pathlib import Path

from engine.records.files import whole_or_nothing
from engine.records.runs import open_run
from engine.records.settings import Settings


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("run", metavar="RUN", help="run id")
    command.add_argument("folder", metavar="FOLDER", help="where to write; must not exist yet, or be empty")
    command.add_argument("--merged", action="store_true", help="also the full model with the adapter merged in")
    command.add_argument("--gguf", action="store_true", help="also the full model as one file, merged.gguf")


def export(options: argparse.Namespace, settings: Settings) -> int:
    """Write the folder and print its path."""
    from engine.compute.model.export import export_run
    from engine.exports.model_card.folder import write_card

    run = open_run(settings.runs, options.run)
    folder = Path(options.folder)
    with whole_or_nothing(folder):
        export_run(run, folder, settings, merged=options.merged, gguf=options.gguf)
        write_card(run, folder, settings)
    print(folder)
    return 0
