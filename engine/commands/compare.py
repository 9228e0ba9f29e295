"""`python -m engine compare`: what differs between runs, as a report in HTML or Markdown."""

import argparse
from pathlib import Path

from engine.records.files import write_whole
from engine.records.runs import open_run
from engine.records.settings import Settings


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "runs_compared", nargs="+", metavar="RUN", help="run ids, two or more; the first is the measure"
    )
    command.add_argument("--out", required=True, metavar="FILE", help="FILE.html with figures, or FILE.md with tables")


def compare(options: argparse.Namespace, settings: Settings) -> int:
    """Write the report and print its path."""
    from engine.exports.comparison.write import comparison_text

    out = Path(options.out)
    runs = [open_run(settings.runs, run) for run in options.runs_compared]
    write_whole(out, comparison_text(runs, settings, ending=out.suffix.lower()))
    print(out)
    return 0
