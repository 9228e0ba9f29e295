"""A model as lmms-eval asks one: its questions with pictures are answered as any request here, greedily.

lmms-eval is no requirement: it is imported where it is asked for. Knows nothing of its tasks, nor of how they score.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from engine.compute.evaluation.attacks.attempt import Options, answers
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.text import decode, tokens_of
from engine.compute.steps import drained
from engine.records.conversation import Conversation, Message, Picture, Text
from engine.records.errors import DataError, ModelError
from engine.records.pictures import picture_at

PACKAGE = "lmms-eval==0.7.3"
_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


class Question(NamedTuple):
    """new_tokens: of the answer at most.  until: words before which it ends."""

    conversation: Conversation
    new_tokens: int
    until: tuple[str, ...]


def need_lmms(module: str) -> Any:
    """A module of lmms-eval. Raises DataError that says how to get it."""
    try:
        return importlib.import_module(f"lmms_eval.{module}")
    except ImportError as error:
        raise DataError(
            f"lmms-eval cannot be imported ({error}): docs/lmms-eval.md says how to put it, {PACKAGE}, beside the "
            "workbench without another torch."
        ) from error


def lmms_model(
    model: LoadedModel,
    adapter: str | None,
    *,
    folder: Path,
    most_tokens: int,
    said: Callable[[int, int], None] = lambda done, total: None,
    unanswered: Callable[[str], None] = lambda reason: None,
) -> Any:
    """An object of lmms-eval's model class that answers with this model. folder: where pictures are put while they are
    asked about.  most_tokens: no answer is longer, whatever a task allows.  said: told how many of how many are
    answered.  unanswered: told why a question cannot be asked, of which an answer without a word is handed in.

    Raises DataError where lmms-eval is not installed, ModelError for a model that sees nothing.
    """
    if model.sight is None:
        raise ModelError(
            f"{model.spec.name} sees no pictures, and these tasks show some: choose a run of one that does."
        )
    base = need_lmms("api.model").lmms

    def generate_until(asked: Any, requests: Sequence[Any]) -> list[str]:
        texts: list[str] = []
        problems: list[ModelError] = []
        for done, request in enumerate(requests):
            said(done, len(requests))
            question = question_of(model, request.args, asked.task_dict, folder=folder, most_tokens=most_tokens)
            try:
                texts.append(answer_to(model, adapter, question))
            except ModelError as error:
                # One question in hundreds costs no other its answer.
                problems.append(error)
                texts.append("")
        if problems and len(problems) == len(requests):
            raise problems[0]
        for problem in problems:
            unanswered(str(problem))
        said(len(requests), len(requests))
        return texts

    methods = {"generate_until": generate_until, "loglikelihood": _other, "generate_until_multi_round": _other}
    return type("WorkbenchModel", (base,), methods)()


def question_of(
    model: LoadedModel, arguments: Sequence[Any], documents: Mapping[str, Any], *, folder: Path, most_tokens: int
) -> Question:
    """What lmms-eval hands to a simple model: words, settings, how a document's pictures are read, its number, and its
    task and split. Raises DataError for what is shown and is no picture."""
    context, settings, pictures_of, number, task, split = arguments
    shown = pictures_of(documents[task][split][number]) or []
    parts = tuple(_kept(one, folder / f"{task}-{split}-{number}-{place}.png") for place, one in enumerate(shown))
    assert model.sight is not None
    # Tasks may mark the place of a picture; here pictures stand before the words.
    words = context.replace(model.sight.tokens.processor.image_token, "").strip()
    until = settings.get("until") or ()
    return Question(
        Conversation(messages=(Message(role="user", parts=(*parts, Text(text=words))),)),
        min(int(settings.get("max_new_tokens", most_tokens)), most_tokens),
        (until,) if isinstance(until, str) else tuple(until),
    )


def answer_to(model: LoadedModel, adapter: str | None, question: Question) -> str:
    """The likeliest answer, up to where it is to end. Raises ModelError where the context has no room for it."""
    prompt = tokens_of(model, question.conversation, reserved=question.new_tokens).ids
    [ids] = drained(answers(model, adapter, [prompt], Options(1, new_tokens=question.new_tokens)))
    text = decode(model, ids)
    for end in question.until:
        text = text.split(end)[0] if end else text
    return text.strip()


def _kept(shown: Any, file: Path) -> Picture:
    if not isinstance(shown, Image.Image):
        raise DataError(
            f"A task shows a {type(shown).__name__}, and only pictures are shown here: choose another task."
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    if shown.mode not in _PNG_MODES:
        shown = shown.convert("RGB")
    shown.save(file, "PNG")
    return picture_at(file)


def _other(asked: Any, requests: Sequence[Any]) -> None:
    raise DataError("A task asks for likelihoods or several rounds, which are not offered here: choose another task.")
