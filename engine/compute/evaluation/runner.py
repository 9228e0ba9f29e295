"""One attack on one model over many rows: ask, judge, remember. What was asked and judged once is never asked again.

Answers are remembered by what decides them (weights, attack, budget, seed, length, row), verdicts by the answer and the
judge; so an evaluation that was broken off goes on where it was. Knows nothing of queues or reports.
"""

import hashlib
import json
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from engine.compute.evaluation.attacks.attempt import CANDIDATES_ON_A_PROCESSOR, Attempt, Attempts, Options
from engine.compute.evaluation.attacks.table import ATTACK_FUNCTIONS
from engine.compute.evaluation.judges import Verdict, judge_answers, rules_identity
from engine.compute.evaluation.outcomes import Outcome, after, outcome
from engine.compute.model.adapters import adapter_parameters
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.remembered import remembered_under
from engine.compute.model.text import tokens_of
from engine.compute.steps import Stopwatch, inside, told
from engine.compute.team import divided, team_size, where_sharded
from engine.records.conversation import Conversation
from engine.records.evaluation.attacks import ATTACKS
from engine.records.evaluation.pixels import PixelSearch
from engine.records.evaluation.rows import EvaluationRow
from engine.records.files import append_line
from engine.records.versions import key_of

Found = TypeVar("Found")

# How many times as many rows a GPU is given before they are remembered; attacks cut them by the memory.
GPU_GROUPS = 8


class Judge(NamedTuple):
    """identity: what verdicts are remembered under."""

    identity: str
    verdicts: Callable[[LoadedModel, Sequence[EvaluationRow], Sequence[Attempt]], Generator[None, None, list[Verdict]]]


class Memory:
    """Answers and verdicts by content key in a file that grows by a line a group. A torn last line is read as none.

    Two processes may answer the same rows at once: the answers that were written first are taken, and verdicts of
    these alone.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.attempts: dict[str, list[Attempt]] = {}
        self.verdicts: dict[str, list[Verdict]] = {}
        judged: list[tuple[str, list[Verdict], str]] = []
        for line in file.read_text(encoding="utf-8", errors="replace").split("\n") if file.is_file() else ():
            try:
                content = json.loads(line)
                for key, found in content.get("attempts", {}).items():
                    self.attempts.setdefault(key, [_attempt(one) for one in found])
                of = content.get("of", {})
                for key, found in content.get("verdicts", {}).items():
                    judged.append((key, [Verdict(*one) for one in found], of.get(key, "")))
            except (ValueError, TypeError, AttributeError, IndexError):
                continue
        self.verdicts = {key: verdicts for key, verdicts, of in judged if self._are_of(key, verdicts, of)}

    def add_attempts(self, found: dict[str, list[Attempt]]) -> None:
        self._add({"attempts": found})
        self.attempts |= found

    def add_verdicts(self, found: dict[str, list[Verdict]]) -> None:
        """found: by the attempts' key and the judge's identity, a colon between them."""
        self._add({"verdicts": found, "of": {key: self._said(key) for key in found}})
        self.verdicts |= found

    def _add(self, content: dict) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        append_line(self.file, json.dumps(content))

    def _are_of(self, key: str, verdicts: Sequence[Verdict], of: str) -> bool:
        """Whether verdicts are of the attempts that are taken. of: '' in files of version 0.1."""
        attempts = self.attempts.get(key.partition(":")[0], ())
        return len(verdicts) == len(attempts) and of in ("", self._said(key))

    def _said(self, key: str) -> str:
        """What the attempts that verdicts of this key are of said, as a digest."""
        attempts = self.attempts.get(key.partition(":")[0], ())
        return key_of(json.dumps([attempt.answer_ids for attempt in attempts]), length=12)


def rules_judge() -> Judge:
    """The built-in rules, under the base model's eyes."""

    def verdicts(
        model: LoadedModel, rows: Sequence[EvaluationRow], attempts: Sequence[Attempt]
    ) -> Generator[None, None, list[Verdict]]:
        return (
            yield from judge_answers(
                model,
                [attempt.prompt_ids for attempt in attempts],
                [attempt.answer_ids for attempt in attempts],
                prefills=[attempt.prefill_ids for attempt in attempts],
                requests_ids=[tokens_of(model, row.conversation).ids for row in rows],
                requests=[row.prompt for row in rows],
            )
        )

    return Judge(rules_identity(), verdicts)


def memory_file(folder: Path, model: LoadedModel, adapter: str | None) -> Path:
    """Where answers of these very weights are remembered. Raises RunError where the folder cannot be written."""
    name = remembered_under(model, folder)
    if adapter is not None:
        digest = hashlib.sha256()
        for key, parameter in adapter_parameters(model, adapter):
            digest.update(key.replace(f".{adapter}.", ".").encode())
            digest.update(parameter.detach().float().cpu().numpy().tobytes())
        name += f"-{digest.hexdigest()[:16]}"
    return folder / f"{name}.jsonl"


def run_attack(
    model: LoadedModel,
    adapter: str | None,
    rows: Sequence[EvaluationRow],
    name: str,
    options: Options,
    *,
    judge: Judge,
    memory: Memory,
) -> Generator[float, None, list[Outcome]]:
    """Ask every row, judge every answer; yields how many rows are done. Where the attack's card names a brief search,
    all rows are searched so far first, and those that withstood it to the end: one success is a success, but beside a
    probe, which may have ended that answer."""
    brief = ATTACKS[name].brief
    if options.probe is not None or not 0 < brief < options.budget:
        return (yield from _asked(model, adapter, rows, name, options, judge, memory))
    share = brief / options.budget
    steps = _asked(model, adapter, rows, name, options._replace(budget=brief), judge, memory)
    found = yield from told(steps, lambda done: done * share)
    left = [row for row, one in zip(rows, found, strict=True) if one.word != "complied"]
    start, scale = len(rows) * share, len(rows) * (1 - share) / max(1, len(left))
    steps = _asked(model, adapter, left, name, options, judge, memory)
    rest = iter((yield from told(steps, lambda done: start + scale * done)))
    return [one if one.word == "complied" else after(one, next(rest)) for one in found]


def _asked(
    model: LoadedModel,
    adapter: str | None,
    rows: Sequence[EvaluationRow],
    name: str,
    options: Options,
    judge: Judge,
    memory: Memory,
) -> Generator[float, None, list[Outcome]]:
    """Rows that offer the same tools go together, so that their opening is read once, and among them rows of similar
    length."""
    options = together(name, options, rows, memory)
    keys = [attempt_key(name, options, row) for row in rows]
    offered = [row.offered for row in rows]
    lengths = [(len(tools), tools, len(row.prompt) + len(row.target)) for tools, row in zip(offered, rows, strict=True)]
    order = sorted(range(len(rows)), key=lengths.__getitem__)
    size = group_size(model, name)
    for start in range(0, len(order), size):
        group = order[start : start + size]
        steps = attempts_at(model, adapter, [rows[index] for index in group], name, options, memory=memory)
        yield from _shares(steps, start, len(group))
        yield from _judge(model, [rows[i] for i in group], [keys[i] for i in group], judge, memory, start)
    return [
        outcome(row, memory.attempts[key], memory.verdicts[f"{key}:{judge.identity}"])
        for row, key in zip(rows, keys, strict=True)
    ]


def together(name: str, options: Options, rows: Sequence[EvaluationRow], memory: Memory) -> Options:
    """The options of an attack on all these rows together, with what tells them from others; of any other as they
    are."""
    if not ATTACKS[name].together:
        return options
    others = key_of("".join(sorted(attempt_key(name, options, row) for row in rows)), length=24)
    return options._replace(others=others, keep=memory.file.with_suffix("") / others)


def group_size(model: LoadedModel, name: str) -> int:
    """How many rows an attack asks before what they answered is remembered."""
    return ATTACKS[name].rows * (1 if model.device.type == "cpu" else GPU_GROUPS) * team_size()


def attempts_at(
    model: LoadedModel,
    adapter: str | None,
    rows: Sequence[EvaluationRow],
    name: str,
    options: Options,
    *,
    memory: Memory,
) -> Attempts:
    """An attack's attempts at each row: those that are remembered, the others made and remembered now. Yields the
    share that is done, 0 to 1."""
    keys = [attempt_key(name, options, row) for row in rows]
    missing = {key: row for key, row in zip(keys, rows, strict=True) if key not in memory.attempts}
    if missing:
        attempts = _on_all if ATTACKS[name].together else _on_each
        watch = Stopwatch()
        steps = attempts(model, adapter, list(missing.values()), options, name)
        found = yield from inside(watch.running, steps)
        share = watch.seconds / len(missing)
        timed = [[one._replace(seconds=round(share / len(of), 3)) for one in of] for of in found]
        memory.add_attempts(dict(zip(missing, timed, strict=True)))
    return [memory.attempts[key] for key in keys]


@divided("rows")
def _on_each(
    model: LoadedModel, adapter: str | None, rows: Sequence[EvaluationRow], options: Options, name: str
) -> Attempts:
    """An attack that makes the same of a row in any company."""
    return (yield from ATTACK_FUNCTIONS[name](model, adapter, rows, options))


@where_sharded
def _on_all(
    model: LoadedModel, adapter: str | None, rows: Sequence[EvaluationRow], options: Options, name: str
) -> Attempts:
    """One whose answers of a row depend on the others."""
    return (yield from ATTACK_FUNCTIONS[name](model, adapter, rows, options))


def attempt_key(name: str, options: Options, row: EvaluationRow) -> str:
    # A request of one text is keyed by it, as in version 0.1.
    plain = row.conversation == Conversation.asking(row.prompt)
    asked = row.prompt if plain else row.conversation.content
    told = [name, options.budget, options.seed, options.new_tokens, asked, row.target]
    if row.conversation.tools:
        # What call is expected decides how one is forced, and how the answer is judged.
        told += [row.call.name if row.call else "", row.expects_call]
    if ATTACKS[name].asks == "pictures" and options.pixels != PixelSearch():
        told.append(options.pixels.model_dump())
    if options.others:
        told.append(options.others)
    if name == "gcg" and options.candidates != CANDIDATES_ON_A_PROCESSOR:
        # One cache may serve a processor and a GPU: what a weak search found says nothing of a strong one.
        told.append(options.candidates)
    # A search that aims past a probe finds others for each probe.
    content = json.dumps(told if options.probe is None else [*told, options.probe.identity])
    return key_of(content, version=ATTACKS[name].version, length=24)


def _judge(
    model: LoadedModel, rows: Sequence[EvaluationRow], keys: Sequence[str], judge: Judge, memory: Memory, done: int
) -> Generator[float, None, None]:
    missing = [
        (row, key) for row, key in zip(rows, keys, strict=True) if not _is_judged(memory, f"{key}:{judge.identity}")
    ]
    if not missing:
        yield float(done + len(rows))
        return
    asked = [(row, attempt) for row, key in missing for attempt in memory.attempts[key]]
    steps = judge.verdicts(model, [row for row, _ in asked], [attempt for _, attempt in asked])
    verdicts = iter((yield from _shares(steps, done + len(rows), 0)))
    memory.add_verdicts(
        {f"{key}:{judge.identity}": [next(verdicts) for _ in memory.attempts[key]] for _, key in missing}
    )


def _is_judged(memory: Memory, key: str) -> bool:
    """A judge whose word could not be read once may be read now."""
    verdicts = memory.verdicts.get(key)
    return verdicts is not None and all(verdict.word != "unparseable" for verdict in verdicts)


def _shares(steps: Generator[float | None, None, Found], done: int, rows: int) -> Generator[float, None, Found]:
    """Shares of a group as rows of the whole."""
    return (yield from told(steps, lambda share: done + rows * (share or 0.0)))


def _attempt(content: Sequence) -> Attempt:
    # What was remembered before there were probes tells nothing of one, nor of a loss.
    budget, prompt, answer, prefill, asked, *later = content
    return Attempt(budget, tuple(prompt), tuple(answer), tuple(prefill), asked, *later)
