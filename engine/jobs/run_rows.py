"""The rows of a run: its prompts read, chosen and answered, and what is said where their files have changed. Knows
nothing of steps or of the device."""

import time
from collections.abc import Generator, Sequence
from functools import partial

from engine.compute.model.loaded import LoadedModel
from engine.compute.model.openings import tokens_alone
from engine.compute.model.text import text_ids, tokens_of
from engine.compute.team import team_facts
from engine.compute.training.pairs import Pair, elicit, without_refusals
from engine.compute.training.rows import EncodedWhenDrawn, Row, encode, need_room_for_tools
from engine.compute.training.sources import reading
from engine.compute.training.trainer import Rows
from engine.device import Tools
from engine.jobs.capture import sides
from engine.records.checkpoints import last_checkpoint
from engine.records.chosen_rows import chosen_rows, held_apart
from engine.records.conversation import Label
from engine.records.errors import DataError
from engine.records.estimate import estimate
from engine.records.events import Alert, Event, Progress, effective
from engine.records.harmfulness import held_out_borderline, need_borderline
from engine.records.prompt_files import source_hashes
from engine.records.prompts import Prompt, Split, asked_rows
from engine.records.row_lengths import SideLength, step_share
from engine.records.runs import Run
from engine.records.sample_answers import SampleAnswer, SampleAnswers
from engine.records.spec import RunSpec
from engine.records.tool_prompts import tools_key

# Of which the mean length of a prompt is taken, for the expected time.
COUNTED_PROMPTS = 48

SIDES: tuple[Label, ...] = ("harmful", "benign")


def changed_files(run: Run, spec: RunSpec) -> Alert | None:
    """A run is known by what its prompt files held when it began, which one that begins notes. Of one that goes on from
    a checkpoint after a file has changed: what is to be said, where it was not said of that content before."""
    known, found = run.record().sources, source_hashes(spec.data)
    last = last_checkpoint(run)
    if not last:
        now = known | found
        if now != known:
            run.update(sources=now, digest=spec.digest_with(now))
        return None
    changed = [f"{name} (now {found[name][:8]})" for name in found if known.get(name, found[name]) != found[name]]
    if not changed or last >= spec.optimizer.steps:
        return None
    alert = Alert(
        step=last,
        message=f"Changed since this run began: {', '.join(changed)}. Its further steps are taken on rows as they are "
        "now.",
        advice="For a run of one set of rows start another like it.",
    )
    return None if alert.message in _said(run) else alert


def other_format(run: Run, spec: RunSpec, now: str) -> Alert | None:
    """Of a run that goes on from a checkpoint in another number format than its steps before: what is to be said. now:
    the model's format."""
    before, last = run.record().device.rpartition(" ")[2], last_checkpoint(run)
    if not last or last >= spec.optimizer.steps or before in ("", now):
        return None
    return Alert(
        step=last,
        message=f"Its steps so far were computed in {before}, those from here on in {now}, as this machine computes. "
        "The base model's answers are made anew in it, so that rows differ too.",
        advice=f"For a run of one kind throughout resume it on a machine that computes in {before}.",
    )


def run_rows(
    run: Run, model: LoadedModel, spec: RunSpec, tools: Tools, samples: SampleAnswers
) -> Generator[Event, None, tuple[Rows, list[Prompt], list[Prompt]]]:
    """Training, validation and test rows of both sides, elicited in one go; then the validation prompts, and those of
    the validation rows, in their order."""
    chosen: dict[tuple[Split, Label], list[Prompt]] = {}
    for label, source in sides(spec.data):
        found = yield from reading(source, label=label, answer_field=spec.data.answer_field)
        prompts = held_apart(found)
        if told := _left_out(run, label, len(found) - len(prompts)):
            yield told
        for split, rows in chosen_rows(prompts, spec.data, label=label, seed=spec.seed).items():
            chosen[split, label] = rows
        if label == "benign" and spec.harmfulness.probe:
            need_borderline(held_out_borderline(prompts, spec.data))
    everything = [prompt for prompts in chosen.values() for prompt in prompts]
    _expect(run, model, spec, chosen, tools.speed)
    folder, heard = tools.settings.answers, partial(_keep_samples, samples)
    try:
        answers = elicit(model, everything, spec.data, answers_folder=folder, seed=spec.seed, heard=heard)
        pairs = yield from _timed(run, answers)
    except BaseException:
        samples.forget()
        raise
    by_prompt = {id(pair.prompt): pair for pair in pairs}

    def learned(split: Split, label: Label) -> list[Pair]:
        found = [by_prompt[id(prompt)] for prompt in chosen.get((split, label), []) if id(prompt) in by_prompt]
        if split == "train" and not found:
            raise DataError(
                f"The base model said nothing to any {label} prompt of the training split: raise the opener share, or "
                "use given answers."
            )
        return without_refusals(found, spec.data, needed=split == "train")

    def held_out(split: Split) -> tuple[list[Row], list[Prompt]]:
        both = [(encode(model, pair, spec.data), pair.prompt) for label in SIDES for pair in learned(split, label)]
        both = [(row, prompt) for row, prompt in both if len(row.ids) > row.response_start]
        return [row for row, _ in both], [prompt for _, prompt in both]

    trained = {label: learned("train", label) for label in SIDES}
    need_room_for_tools(model, [pair for pairs in trained.values() for pair in pairs], spec.data)
    harmful, benign = (EncodedWhenDrawn(model, trained[label], spec.data) for label in SIDES)
    measured, filmed = held_out("validation")
    validation = [p for (split, _), prompts in chosen.items() if split == "validation" for p in prompts]
    return Rows(harmful, benign, measured, held_out("test")[0]), validation, filmed


def _left_out(run: Run, label: Label, count: int) -> Alert | None:
    """What is to be said of held-out rows that training rows ask too, where it was not said before. The training rows
    are the same with and without them, so a run that began when they were still measured goes on as it was."""
    if not count:
        return None
    are = f"{count} held-out {label} row{' asks' if count == 1 else 's ask'}"
    message, last = f"{are} what training rows ask too: left out of all that is measured.", last_checkpoint(run)
    if any(said.startswith(message) for said in _said(run)):
        return None
    if last:
        message += f" What was measured up to step {last} may rest on them."
    return Alert(step=last, message=message, advice="Give each request of the prompt files one split.")


def _said(run: Run) -> list[str]:
    """All alerts so far."""
    return [event.message for event in effective(run.events()[0]) if isinstance(event, Alert)]


def _expect(
    run: Run, model: LoadedModel, spec: RunSpec, chosen: dict[tuple[Split, Label], list[Prompt]], speed: float
) -> None:
    """Note how long answers and training will take, as far as the machine's speed tells."""
    everything = [prompt for prompts in chosen.values() for prompt in prompts]
    if not speed or not everything:
        return
    texts = [prompt for prompt in everything if not prompt.conversation.tools]
    # Whole groups of the same tools, since what they open with is run once.
    agents = sorted((prompt for prompt in everything if prompt.conversation.tools), key=tools_key)
    text_tokens, agent_tokens = (
        [tokens_of(model, prompt.conversation).ids for prompt in few]
        for few in (texts[:: max(1, -(-len(texts) // COUNTED_PROMPTS))], agents[:COUNTED_PROMPTS])
    )
    share = len(agents) / len(everything)
    text_mean, agent_mean = (sum(map(len, some)) / max(1, len(some)) for some in (text_tokens, agent_tokens))
    alone = (1 - share) * max(0.0, text_mean - model.card.opening_tokens)
    alone += share * (tokens_alone(agent_tokens) if agent_tokens else 0.0)
    training = sum(len(prompts) for (split, _), prompts in chosen.items() if split == "train")
    few, kept, lengths = 0, list[int](), list[SideLength]()
    for label, drawn in zip(SIDES, (spec.optimizer.circuit_breaker_batch, spec.optimizer.retain_batch), strict=True):
        side = [prompt for (_, of), prompts in chosen.items() if of == label for prompt in prompts]
        some = side[:: max(1, -(-len(side) // COUNTED_PROMPTS))]
        given = [
            len(text_ids(model, one.answer))
            for one in some
            if one.answer and (spec.data.answers == "given" or one.keeps_answer)
        ]
        asked = sum(len(tokens_of(model, one.conversation).ids) for one in some)
        tokens = (asked + sum(given) + (len(some) - len(given)) * spec.data.new_tokens) / max(1, len(some))
        lengths.append(SideLength(len(side), min(spec.data.max_tokens, tokens), drawn))
        few, kept = few + len(some), kept + given
    cost = estimate(
        spec,
        model.card,
        {"flops_per_second": speed} | team_facts(),
        training_rows=training,
        heldout_rows=len(everything) - training,
        asked_rows=asked_rows(everything),
        prompt_tokens=(1 - share) * text_mean + share * agent_mean,
        alone_tokens=alone,
        with_tools=share,
        given=len(kept) / few,
        given_tokens=sum(kept) / max(1, len(kept)),
        step_share=step_share(lengths),
    )
    run.update(expected={"answer": cost.eliciting_seconds or 0.0, "train": cost.training_seconds or 0.0})


def _keep_samples(samples: SampleAnswers, pairs: Sequence[Pair]) -> None:
    samples.take([SampleAnswer(label=p.prompt.label, prompt=p.prompt.text, answer=p.answer) for p in pairs])


def _timed(run: Run, answers: Generator[Progress, None, list[Pair]]) -> Generator[Event, None, list[Pair]]:
    """Pass progress on and note how long eliciting took."""
    started = time.monotonic()
    pairs = yield from answers
    seconds = time.monotonic() - started
    if seconds > 1:
        run.update(elicit_seconds=run.record().elicit_seconds + seconds)
    return pairs
