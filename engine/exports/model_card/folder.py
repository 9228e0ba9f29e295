"""Beside an exported adapter: README.md, figures/, spec.json, and an adapter_config.json that names no path."""

import json
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError, safe_open

from engine.exports.model_card.card import Facts, card_text, clean_spec, hub_name
from engine.exports.model_card.pictures import attacks_picture, curves_picture
from engine.exports.private import Private
from engine.figures.evaluation.findings import requests_asked
from engine.records.assembled import ASSEMBLED_PREFIX
from engine.records.errors import RunError
from engine.records.evaluation.final import of_final
from engine.records.evaluation.findings import read_evaluations
from engine.records.events import effective
from engine.records.files import write_whole
from engine.records.outcome import outcome_of
from engine.records.runs import Run
from engine.records.settings import Settings
from engine.records.spec import RunSpec
from engine.records.tables import run_tables


def write_card(run: Run, folder: Path, settings: Settings) -> None:
    """The folder can then be uploaded to a hub as it is. Raises RunError when records cannot be read or the disk is
    full."""
    private, spec = Private(settings), run.spec()
    tables = run_tables(effective(run.events()[0]))
    final = of_final(read_evaluations(run, settings), run.record())
    evaluations = sorted(final, key=requests_asked, reverse=True)
    of_text = next((one for one in evaluations if one.attacks), None)
    pictures = {}
    if not tables.steps.empty:
        pictures["curves"] = curves_picture(tables)
    if of_text:
        pictures["attacks"] = attacks_picture(of_text)
    for name, picture in pictures.items():
        write_whole(folder / "figures" / f"{name}.png", picture)
    write_whole(folder / "spec.json", json.dumps(clean_spec(spec, private), indent=2) + "\n")
    _name_base(folder, hub_name(spec, private) or private.of_machine(spec.model.name))
    outcome = outcome_of(run, settings)
    facts = Facts(run.name, run.record(), spec, outcome, evaluations, tuple(pictures), _sees(folder, spec))
    write_whole(folder / "README.md", card_text(facts, private))


def _sees(folder: Path, spec: RunSpec) -> bool:
    """Whether the base model sees: the language half of one that does has a name of its own in the adapter."""
    if spec.model.name.startswith(ASSEMBLED_PREFIX):
        return True
    with suppress(OSError, SafetensorError), safe_open(folder / "adapter_model.safetensors", "np") as weights:
        return any(".language_model." in name for name in weights.keys())  # noqa: SIM118, it is no mapping
    return False


def _name_base(folder: Path, name: str) -> None:
    """peft writes down where the base model lay."""
    file = folder / "adapter_config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{file} cannot be read: {error}. Train the run again, or restore its adapter.") from error
    write_whole(file, json.dumps(config | {"base_model_name_or_path": name}, indent=2) + "\n")
