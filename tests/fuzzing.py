"""A fuzz run over everything that reads files: `make fuzz`, or `python tests/fuzzing.py 100000`.

Each input is a valid file that was damaged: bytes flipped, cut, doubled, or values in its JSON replaced by odd ones. A
reader may return what it can, or raise a WorkbenchError; anything else is a fault, and the input is printed.
"""

import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from making_captures import write_capture, write_map
from making_lessons import LESSON

from engine.commands.sweep import read_grid
from engine.desk.queue import Queue
from engine.records.blocks import resolve_blocks
from engine.records.captures.capture import BASE, TRAINING, read_capture, run_captures
from engine.records.captures.projections import MapFigures, ProjectionRequest, projection_file, read_projection
from engine.records.cards import DataCard, ModelCard, card_file, read_data_card, read_model_card, write_card
from engine.records.chats.asked import Column
from engine.records.chats.chat import Exchange, new_chat
from engine.records.chats.replies import Answered, Pieces
from engine.records.chats.sets import SetRequest, SetRow, new_set
from engine.records.errors import WorkbenchError
from engine.records.evaluation.counts import count
from engine.records.evaluation.findings import Evaluation, Sample, read_evaluations, read_samples, write_evaluation
from engine.records.evaluation.rows import read_rows
from engine.records.events import (
    CheckpointResult,
    ControlEvent,
    HeldoutResult,
    ProbeAnswer,
    ProbeResult,
    Progress,
    StatusEvent,
    StepResult,
    effective,
)
from engine.records.lessons.progress import Met, keep_answer, keep_met, read_answers, read_met
from engine.records.lessons.reading import read_unit
from engine.records.prompt_files import read_source
from engine.records.prompts import opener_for, select
from engine.records.runs import create_run
from engine.records.settings import SAMPLE_DATA, Settings
from engine.records.spec_parts import DataSpec, ModelSpec
from engine.records.spec_text import build_spec, parse_spec, read_spec
from engine.records.tables import run_tables

ODD: list[Any] = [
    None, True, False, 0, -1, 2**63, 10**400, 1e308, float("nan"), float("inf"), "", " ", "\x00", "\ud800", "\u2028",
    "é" * 5, "a" * 5000, "../../etc/passwd", "<script>alert(1)</script>", "-", "0-", "99999999999999999999", "%", [],
    {}, [[]], [None], [{}], {"prompt": 1}, {"": ""}, [1, "2", None], "9" * 5000, "1e999",
]  # fmt: skip


class Reader(NamedTuple):
    """file: a valid one, which each input replaces.  read: reads it as the product does."""

    file: Path
    read: Callable[[], Any]


def readers(folder: Path) -> dict[str, Reader]:
    """One of each reader, with a valid file to begin with."""
    settings = Settings(runs=folder / "runs", cache=folder / "cache")
    run = create_run(settings.runs, build_spec({}), name="fuzzed")
    for event in (
        StatusEvent(status="running"),
        StepResult(
            step=0, reroute_loss=1.0, retain_loss=0.0, reroute_weight=5.0, retain_weight=0.0, loss=5.0,
            gradient_norm=1.0, learning_rate=1e-3, tokens=100, seconds=1.0,
        ),
        Progress(phase="eliciting", done=1, total=2),
        HeldoutResult(
            step=1, split="validation", cosine={"1": 0.5}, raw_cosine={"1": 0.5}, benign_cosine={"1": 0.9},
            drift={"0": 0.1, "1": 0.2}, borderline_drift=0.1, harmful_rows=2, benign_rows=2,
        ),
        ProbeResult(step=1, answers=(ProbeAnswer(prompt_id="p", label="harmful", prompt="p", answer="a"),)),
        ControlEvent(control="alpha", step=1, value=2.0),
        CheckpointResult(step=1, name="step-000001"),
    ):  # fmt: skip
        run.append(event)
    capture = write_capture(run.representations_folder / TRAINING, run_id=run.id, key=TRAINING)
    wish = ProjectionRequest(run_id=run.id, key=TRAINING, block=1)
    write_map(capture, wish, MapFigures(trustworthiness=0.9))
    counted = count(["complied", "refused"])
    evaluation = Evaluation(
        key="abc", run=run.id, harmful="h", benign="b", judge="rules", new_tokens=8, seed=0, attacks={},
        benign_answers={"base": counted, "rerouted": counted}, loss={},
    )  # fmt: skip
    sample = Sample(attack="direct", side="base", prompt="p", answer="a", word="complied")
    evaluation_file = write_evaluation(run, settings, evaluation, [sample])
    columns = (Column(checkpoint="base"), Column(checkpoint=run.id))
    chat = new_chat(settings, columns)
    chat.ask(Exchange(turn=0, model=ModelSpec(), columns=columns, user="hello"))
    chat.append(0, Pieces(columns=(("a",), ("b",))))
    chat.append(0, Answered(ids=((1,), (2,)), reasons=("end", "end"), first_token_seconds=0.1, seconds=1.0))
    answers = new_set(settings, SetRequest(model=ModelSpec(), columns=columns, source="sample:benign", label="benign"))
    answers.append(
        SetRow(
            prompt_id="p",
            prompt="p",
            label="benign",
            answers=("a", "b"),
            words=("complied", "refused"),
            reasons=("", ""),
        )
    )
    queue = Queue(settings.desk)
    queue.beat(status="idle", device="cpu", machine={"flops_per_second": 1e9})
    model_card = ModelCard(
        name="m", family="llama", block_count=2, d_model=16, parameters=10, block_parameters=4, context_length=64,
        has_chat_template=True, modules={"q": (16, 16)}, device="cpu", dtype="float32",
    )  # fmt: skip
    write_card(settings.cards, "describe_model", {}, model_card)
    write_card(
        settings.cards,
        "describe_data",
        {},
        DataCard(
            rows=1,
            tokens_mean=3,
            tokens_median=3,
            tokens_95=4,
            tokens_max=4,
            histogram=[1],
            histogram_edges=[0, 4],
        ),
    )
    spec_file, grid_file = folder / "spec.json", folder / "grid.json"
    spec_file.write_text((SAMPLE_DATA / "presets" / "default.json").read_text())
    grid_file.write_text(json.dumps({"base": "quick", "grid": {"schedule.alpha": [3, 5]}, "evaluate": {"limit": 8}}))
    prompts, chats, published = (folder / name for name in ("prompts.jsonl", "chats.jsonl", "published.json"))
    prompts.write_text("".join((SAMPLE_DATA / "prompts" / "benign.jsonl").open().readlines()[:6]))
    turns = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "yes"}]
    chats.write_text(json.dumps({"messages": turns, "id": "1"}) + "\n")
    published.write_text(json.dumps([{"prompt": "p", "output": "o", "llama3_output": "l", "category": "c"}] * 2))
    rows = folder / "rows.jsonl"
    rows.write_text(json.dumps({"prompt": "p?", "target": "t", "style": "question"}) + "\n")

    lesson = folder / "lesson.yaml"
    lesson.write_text(LESSON)
    keep_met(settings, "unit", "step", Met(words="met", run=run.id))
    keep_answer(settings, "unit", "step", "1")

    def chosen(file: Path) -> list:
        found = read_source(str(file), label="harmful")
        for prompt in found:
            opener_for(prompt, DataSpec())
        return select(found, DataSpec(), label="harmful", split="train", seed=0)

    return {
        "prompt rows": Reader(prompts, lambda: chosen(prompts)),
        "chat rows": Reader(chats, lambda: chosen(chats)),
        "published list": Reader(published, lambda: chosen(published)),
        "evaluation rows": Reader(rows, lambda: read_rows(str(rows), label="harmful", settings=settings)),
        "lesson": Reader(lesson, lambda: read_unit(lesson)),
        "lesson progress": Reader(
            settings.progress / "unit" / "step.json", lambda: read_met(settings, "unit", "step")
        ),
        "lesson answers": Reader(
            settings.progress / "unit" / "step.answers.jsonl", lambda: read_answers(settings, "unit", "step")
        ),
        "spec": Reader(spec_file, lambda: resolve_blocks(read_spec(spec_file), 30)),
        "spec text": Reader(spec_file, lambda: parse_spec(spec_file.read_text(errors="replace")).digest),
        "grid": Reader(grid_file, lambda: read_grid(grid_file)),
        "run spec": Reader(run.folder / "spec.json", lambda: run.spec().to_json()),
        "run record": Reader(run.folder / "record.json", lambda: run.record().model_dump_json()),
        "run label": Reader(run.folder / "label.json", run.label),
        "run events": Reader(run.events_file, lambda: run_tables(effective(run.events()[0]))),
        "capture index": Reader(
            capture.folder / "capture.json", lambda: (run_captures(settings, run.id), read_capture(capture.folder))
        ),
        "capture answers": Reader(capture.folder / "answers.json", capture.answers),
        "capture vectors": Reader(
            capture.folder / "base.000.safetensors", lambda: capture.vectors(BASE, "last_prompt", 1)
        ),
        "capture spaces": Reader(capture.folder / "spaces.safetensors", lambda: capture.space(1)),
        "map": Reader(projection_file(capture, wish), lambda: read_projection(projection_file(capture, wish))),
        "evaluation": Reader(
            evaluation_file, lambda: [one.report() for one in read_evaluations(run, settings)]
        ),
        "evaluation samples": Reader(
            evaluation_file.with_name("abc.rows.jsonl"), lambda: read_samples(run, settings, "abc")
        ),
        "chat": Reader(chat.folder / "exchange-0000.json", lambda: chat.conversation(0, 1)),
        "chat reply": Reader(chat.folder / "exchange-0000.jsonl", lambda: [chat.reply(0).text(c) for c in (0, 1)]),
        "answer set": Reader(answers.folder / "request.json", answers.request),
        "answer set rows": Reader(answers.folder / "answers.jsonl", answers.rows),
        "worker": Reader(settings.desk / "worker.json", lambda: queue.worker().alive),
        "model card": Reader(
            card_file(settings.cards, "describe_model", {}), lambda: read_model_card(settings.cards, {})
        ),
        "data card": Reader(card_file(settings.cards, "describe_data", {}), lambda: read_data_card(settings.cards, {})),
    }  # fmt: skip


def fuzz(inputs: int, *, seed: int, folder: Path) -> tuple[Counter[str], list[str]]:
    """Damage files `inputs` times. Returns how often each reader read or refused, and the faults in words."""
    randomness = random.Random(seed)
    known = readers(folder)
    valid = {name: reader.file.read_bytes() for name, reader in known.items()}
    for name, reader in known.items():
        assert reader.read() is not None, f"{name} does not read its own valid file"
    outcomes: Counter[str] = Counter()
    faults: list[str] = []
    names = list(known)
    for number in range(inputs):
        name = names[number % len(names)]
        data = damaged(valid[name], randomness)
        known[name].file.write_bytes(data)
        try:
            known[name].read()
            outcomes[f"{name}: read"] += 1
        except WorkbenchError as error:
            outcomes[f"{name}: refused"] += 1
            if not str(error):
                faults.append(f"{name}: refused without a word: {data[:300]!r}")
        except Exception as error:
            faults.append(f"{name}: {type(error).__name__}: {error!s:.200} on {data[:300]!r}")
        finally:
            known[name].file.write_bytes(valid[name])
    return outcomes, faults


def damaged(data: bytes, randomness: random.Random) -> bytes:
    """One damaged copy: of the JSON inside where there is some, else of the bytes."""
    if randomness.random() < 0.6:
        try:
            lines = data.decode().split("\n")
            place = randomness.randrange(len(lines)) if data.count(b"\n{") else None
            text = lines[place] if place is not None else data.decode()
            content = _odd_value(json.loads(text), randomness)
            changed = json.dumps(content, ensure_ascii=randomness.random() < 0.5)
            if place is None:
                return changed.encode(errors="surrogatepass")
            lines[place] = changed
            return "\n".join(lines).encode(errors="surrogatepass")
        except ValueError:
            pass
    changed_bytes = bytearray(data)
    for _ in range(randomness.randrange(1, 4)):
        place = randomness.randrange(len(changed_bytes) + 1)
        kind = randomness.randrange(5)
        if kind == 0:
            del changed_bytes[place:]
        elif kind == 1:
            changed_bytes[place:place] = randomness.randbytes(randomness.randrange(1, 9))
        elif kind == 2 and place < len(changed_bytes):
            changed_bytes[place] ^= 1 << randomness.randrange(8)
        elif kind == 3:
            del changed_bytes[place : place + randomness.randrange(1, 40)]
        else:
            changed_bytes += changed_bytes[: randomness.randrange(200)]
    return bytes(changed_bytes)


def _odd_value(content: Any, randomness: random.Random) -> Any:
    """The content with one value, somewhere, replaced, removed or doubled."""
    if isinstance(content, dict) and content and randomness.random() < 0.9:
        key = randomness.choice(list(content))
        choice = randomness.random()
        if choice < 0.1:
            return {name: value for name, value in content.items() if name != key}
        if choice < 0.2:
            return content | {f"{key}x": content[key]}
        return content | {key: _odd_value(content[key], randomness)}
    if isinstance(content, list) and content and randomness.random() < 0.9:
        place = randomness.randrange(len(content))
        return [*content[:place], _odd_value(content[place], randomness), *content[place + 1 :]]
    return randomness.choice(ODD)


def main() -> int:
    inputs = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        outcomes, faults = fuzz(inputs, seed=inputs, folder=Path(folder))
    for outcome, times in sorted(outcomes.items()):
        print(f"{times:8}  {outcome}")
    for fault in dict.fromkeys(fault[:400] for fault in faults):
        print(fault)
    print(f"{inputs} inputs, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
