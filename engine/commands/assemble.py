"""`python -m engine assemble`: a small model that sees, put together of parts out of packages; with --train its
projector is trained here."""

import argparse
import sys
from pathlib import Path

from engine.commands.counting import rest
from engine.commands.evaluate import check_writable
from engine.compute.steps import drained
from engine.records.assembled import LANGUAGES, SIDES, assembled_folder, assembled_of
from engine.records.errors import SpecError
from engine.records.evaluation.findings import Ability
from engine.records.events import Event, Progress
from engine.records.settings import Settings
from engine.records.spec_parts import BUNDLED_MODEL

MOST_MINUTES = 60
# What only a training reads, as it is where nobody gives it.
TRAINING = {"minutes": MOST_MINUTES, "pictures": 0, "seed": 0, "out": None}


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--language", default=BUNDLED_MODEL, help=f"its language half: {' or '.join(LANGUAGES)}")
    command.add_argument("--tokens", type=int, default=64, choices=sorted(SIDES), help="of a picture (default 64)")
    command.add_argument(
        "--train", action="store_true", help="train the projector anew; goes on where it was broken off"
    )
    command.add_argument("--minutes", type=float, default=MOST_MINUTES, help="of training at most (default 60)")
    command.add_argument("--pictures", type=int, default=0, help="train on so many, evenly taken; 0: all")
    command.add_argument("--seed", type=int, default=0, help="source of all randomness in training")
    command.add_argument("--shipped", action="store_true", help="take the projector that ships, not one trained here")
    command.add_argument("--out", metavar="FILE", help="write the trained projector here too")


def assemble(options: argparse.Namespace, settings: Settings) -> int:
    """The folder is the last line printed; before it, of a trained one, what it names of held-out pictures.

    Raises ModelError and DataError as the job does, SpecError for minutes out of range.
    """
    if not 0 < options.minutes <= MOST_MINUTES:
        raise SpecError(f"--minutes {options.minutes:g}: give more than 0 and at most {MOST_MINUTES}.")
    if options.pictures < 0:
        raise SpecError(f"--pictures {options.pictures}: give a number of pictures, or 0 for all.")
    if ignored := [name for name, given in TRAINING.items() if getattr(options, name) != given and not options.train]:
        raise SpecError(f"--{ignored[0]} is of training: give --train too, or leave it out.")
    if options.out:
        check_writable(Path(options.out))
    if options.shipped and options.train:
        raise SpecError("--shipped takes the projector that ships, and --train makes another: leave one of them out.")
    model = assembled_of(options.language)
    from engine.jobs.assembling import Plan, assembling

    plan = Plan(
        model,
        tokens=options.tokens,
        train=options.train,
        minutes=options.minutes,
        seed=options.seed,
        pictures=options.pictures,
        out=Path(options.out) if options.out else None,
        shipped=options.shipped,
    )
    print(*_named(drained(assembling(plan, settings), _show)), sep="\n", end="")
    print(assembled_folder(settings.models, model.name))
    return 0


def _show(event: Event | None) -> None:
    """A line of what is being done, over the one before."""
    if isinstance(event, Progress):
        share = f" {event.done}/{event.total} {event.unit}" if event.total else ""
        print(f"\r\033[K{event.phase}: {event.message}{share}", end="", file=sys.stderr, flush=True)
    rest(event)


def _named(ability: Ability | None) -> list[str]:
    print(file=sys.stderr)
    if ability is None:
        return []
    lines = []
    for category, sides in ability.categories.items():
        found = sides["base"]
        lines.append(
            f"{category}: kind right {found.right} of {found.n}, 95 % [{found.ci95.low:.2f}, {found.ci95.high:.2f}]"
        )
    return [*lines, ""]
