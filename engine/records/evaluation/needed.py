"""What an evaluation reads, looked at before anything is trained or asked: a wrong file or a missing package is better
said then than after hours. Knows the plan, not how it is carried out."""

import hashlib
import json
from collections.abc import Collection, Iterable
from importlib.util import find_spec
from typing import Literal

from engine.records.conversation import Label
from engine.records.errors import DataError
from engine.records.evaluation.ability_packages import ABILITY_PACKAGES
from engine.records.evaluation.attacks import ATTACKS
from engine.records.evaluation.findings import Evaluation
from engine.records.evaluation.naming import ABILITY as NAMING
from engine.records.evaluation.naming import read_namings
from engine.records.evaluation.pictured import read_pictured_rows
from engine.records.evaluation.plan import OWN, EvaluationPlan
from engine.records.evaluation.rows import PACKAGE_SETS, read_rows
from engine.records.evaluation.tool_rows import GUARD, GUARD_FILE, GUARD_PACKAGE, SAMPLE, read_tool_rows
from engine.records.model_files import sees_pictures
from engine.records.others.authors import Half, authors_of, needed_packages
from engine.records.others.reading import need_authors
from engine.records.package_files import need_package_file
from engine.records.prompt_files import file_hashes
from engine.records.settings import Settings
from engine.records.sources import PICTURES, TOOLS
from engine.records.tool_prompts import DEFINITIONS
from engine.records.versions import key_of

TEMPLATES_FILE = "jailbreak/text_jailbreak.py"
_LABELS: tuple[Label, ...] = ("harmful", "benign")


def files_of(attacks: Collection[str], names: Collection[str], half: Half | Literal[""] = "") -> dict[str, str]:
    """Package and the end of a file's path in it. names: of requests and abilities.  half: of other people's words."""
    needed = dict(needed_packages(half)) if half else {}
    if "templates" in attacks:
        needed[ATTACKS["templates"].package] = TEMPLATES_FILE
    for name in names:
        if name in PACKAGE_SETS:
            needed[PACKAGE_SETS[name].package] = PACKAGE_SETS[name].file
        needed |= ABILITY_PACKAGES.get(name.partition(":")[0], {})
    if GUARD in names:
        needed[GUARD_PACKAGE] = GUARD_FILE
    return needed


def asked_digest(plan: EvaluationPlan) -> str:
    """Of what the plan's files hold and of what its attacks do. Under another one an evaluation of the same plan is of
    other requests, or asked them in another way."""
    both = {f"{kind}{SAMPLE}": f"{kind}harmful; {kind}benign" for kind in (TOOLS, PICTURES)}
    named = ((TOOLS, plan.tools), (PICTURES, plan.pictures))
    sided = (both.get(f"{kind}{source}", source) for kind, source in named)
    files = file_hashes(source for source in (plan.harmful, plan.benign, *sided) if source)
    if plan.tools:
        # A file may name the tools that ship.
        files[DEFINITIONS.name] = hashlib.sha256(DEFINITIONS.read_bytes()).hexdigest()[:16]
    choices = (*plan.attacks, *plan.tool_attacks, *plan.picture_attacks)
    versions = {choice.name: ATTACKS[choice.name].version for choice in choices}
    return key_of(json.dumps([files, versions], sort_keys=True), length=12)


def is_of_now(one: Evaluation, plan: EvaluationPlan, *, rules: str, calls: str) -> bool:
    """Whether an evaluation of this plan is of what is asked now: a file of requests may have changed under its name
    since, an attack, and the judge's rules. rules, calls: the identity of those of texts and of calls now."""
    judges = ("rules", rules) if plan.judge == "rules" else (f"{plan.judge}+{rules}",)
    return (
        one.asked in ("", asked_digest(plan))
        and one.judge in judges
        and (one.tools is None or one.tools.judge == calls)
    )


def need_packages(plan: EvaluationPlan, settings: Settings) -> None:
    """Raises DataError, with how to get it, where a package that the plan needs is not there; those of other people's
    words aside (see need_authors)."""
    attacks = {choice.name for choice in (*plan.attacks, *plan.tool_attacks, *plan.picture_attacks)}
    names = [plan.harmful, plan.benign, plan.tools, *plan.abilities]
    for package, ending in files_of(attacks, names).items():
        need_package_file(package, ending, settings)
    if "gcg" in attacks:
        need_nanogcg()


def need_nanogcg() -> None:
    """Raises DataError where GCG's library is not installed."""
    if find_spec("nanogcg") is None:
        raise DataError(
            f"GCG needs the package nanogcg: `pip install --no-deps {ATTACKS['gcg'].package}`, or leave this attack "
            "out."
        )


def need_read(plan: EvaluationPlan, settings: Settings, *, models: Iterable[str]) -> None:
    """Raises DataError where what the plan names is not there or cannot be read, a run's own rows aside, and where it
    shows pictures to a model that sees none.

    models: the names of the base models that are asked; of one that is not here it is found out when it is loaded.
    """
    need_packages(plan, settings)
    for label, source in zip(_LABELS, (plan.harmful, plan.benign), strict=True):
        if source and source != OWN:
            read_rows(source, label=label, settings=settings)
    if plan.others:
        need_authors(authors_of(plan.others), settings)
    if plan.tools:
        read_tool_rows(plan.tools, settings=settings)
    if plan.pictures:
        read_pictured_rows(plan.pictures)
    if plan.pictures or NAMING in plan.abilities:
        for model in models:
            if sees_pictures(settings.models, model) is False:
                raise DataError(
                    f"{model} sees no pictures, and the evaluation shows some: leave them out, or choose a model that "
                    "sees."
                )
    if NAMING in plan.abilities:
        read_namings(settings, limit=1)
