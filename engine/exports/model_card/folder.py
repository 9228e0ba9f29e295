"""Beside an exported adapter: README.md, figures/, spec.json, and an adapter_config.json that names no path."""

import json
from pathlib import Path

from engine.exports.model_card.card import Facts, card_text, clean_spec, hub_name
from engine.exports.model_card.pictures import attacks_picture, curves_picture
from engine.exports.private import Private
from engine.figures.evaluation.findings import only_abilities, requests_asked
from engine.records.errors import RunError
from engine.records.evaluation.final import of_final
from engine.records.evaluation.findings import read_evaluations
from engine.records.files import write_whole
from engine.records.outcome import outcome_of
from engine.records.runs import Run, effective
from engine.records.settings import Settings
from engine.records.tables import run_tables

MOST_EVALUATIONS = 2


def write_card(run: Run, folder: Path, settings: Settings) -> None:
    """The folder can then be uploaded to a hub as it is. Raises RunError when records cannot be read or the disk is
    full."""
    private, spec = Private(settings), run.spec()
    tables = run_tables(effective(run.events()[0]))
    final = of_final(read_evaluations(run, settings), run.record())
    # Its tables are of requests.
    of_requests = [one for one in final if not only_abilities(one)]
    evaluations = sorted(of_requests, key=requests_asked, reverse=True)[:MOST_EVALUATIONS]
    pictures = {}
    if not tables.steps.empty:
        pictures["curves"] = curves_picture(tables)
    if evaluations and evaluations[0].attacks:
        pictures["attacks"] = attacks_picture(evaluations[0])
    for name, picture in pictures.items():
        write_whole(folder / "figures" / f"{name}.png", picture)
    write_whole(folder / "spec.json", json.dumps(clean_spec(spec, private), indent=2) + "\n")
    _name_base(folder, hub_name(spec, private) or private.of_machine(spec.model.name))
    facts = Facts(run.name, run.record(), spec, outcome_of(run, settings), evaluations, tuple(pictures))
    write_whole(folder / "README.md", card_text(facts, private))


def _name_base(folder: Path, name: str) -> None:
    """peft writes down where the base model lay."""
    file = folder / "adapter_config.json"
    try:
        config = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise RunError(f"{file} cannot be read: {error}. Train the run again, or restore its adapter.") from error
    write_whole(file, json.dumps(config | {"base_model_name_or_path": name}, indent=2) + "\n")
