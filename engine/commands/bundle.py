"""`python -m engine bundle`: a run as one HTML file that opens without a network and plays it."""

import argparse
import sys
from pathlib import Path

from engine.records.files import write_whole
from engine.records.runs import open_run
from engine.records.settings import Settings


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("run", metavar="RUN", help="run id")
    command.add_argument("out", metavar="OUT.html", help="the file to write; one that is there is replaced")
    command.add_argument(
        "--without-harmful-text",
        action="store_true",
        help="leave harmful requests and the answers to them out; else they are hidden until they are revealed",
    )


def bundle(options: argparse.Namespace, settings: Settings) -> int:
    """Write the file and print its path."""
    from engine.exports.bundle.write import bundle_html

    html = bundle_html(open_run(settings.runs, options.run), settings, harmful_text=not options.without_harmful_text)
    out = Path(options.out)
    write_whole(out, html)
    print(f"{out.stat().st_size / 1e6:.1f} MB", file=sys.stderr)
    print(out)
    return 0
