"""Files of the shapes that the published training reads, with words of their own."""

import csv
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet

COMPLIED = "1_full_compliance"


def write_published(folder: Path, *, rows: int = 4994, dialogues: int = 10_600, borderline: int = 12) -> None:
    """The circuit-breaker list, its validation list, labelled borderline completions and dialogues. Every third of
    these completions was refused, every fortieth dialogue has one turn alone."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, count in (("train", rows), ("val", 90)):
        content = [
            {
                "category": f"kind {number % 3}",
                "prompt": f"{name} request {number}",
                "output": f"harmful answer {number}",
                "llama3_output": f"I cannot help with {number}.",
            }
            for number in range(count)
        ]
        (folder / f"circuit_breakers_{name}.json").write_text(json.dumps(content))
    with (folder / "xstest_v2_completions_labelled.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["id", "type", "prompt", "completion", "final_label"])
        writer.writeheader()
        for number in range(borderline):
            label = "2_full_refusal" if number % 3 == 0 else COMPLIED
            writer.writerow(
                {
                    "id": f"v2-{number}",
                    "type": "homonyms",
                    "prompt": f"borderline, {number}",
                    "completion": f"of course {number}\nsecond line",
                    "final_label": label,
                }
            )
    table = [
        {
            "prompt": f"say {number}",
            "prompt_id": str(number),
            "messages": _dialogue(number)[: 1 if number % 40 == 39 else None],
        }
        for number in range(dialogues)
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(table), folder / "test_sft-00000-of-00001.parquet")


def _dialogue(number: int) -> list[dict[str, str]]:
    turns = [
        {"role": role, "content": f"{role} {number} turn {turn}"} for turn in range(2) for role in ("user", "assistant")
    ]
    return turns if number % 2 else turns[:2]
