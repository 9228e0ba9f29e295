"""`python -m engine notebook`: a view of a run as a notebook that draws it from the run's files."""

import argparse
from pathlib import Path

from engine.records.files import write_whole
from engine.records.runs import open_run
from engine.records.settings import Settings


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("run", metavar="RUN", help="run id")
    command.add_argument("out", metavar="OUT.ipynb", help="the file to write; one that is there is replaced")
    command.add_argument("--view", default="curves", help="curves, map (of a capture) or matrix (of its evaluations)")


def notebook(options: argparse.Namespace, settings: Settings) -> int:
    """Write the file and print its path."""
    from engine.exports.notebook.write import notebook_text

    write_whole(Path(options.out), notebook_text(open_run(settings.runs, options.run), options.view))
    print(options.out)
    return 0
