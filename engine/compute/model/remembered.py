"""Under which name a folder keeps what a model said: of these very weights, under these very words around a request.

Knows nothing of what is kept.
"""

import hashlib
import json
from pathlib import Path

from engine.compute.model.generation import end_ids
from engine.compute.model.load import model_fingerprint
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.templates import BEGINNING
from engine.records.assembled import ASSEMBLED
from engine.records.files import storage_error
from engine.records.model_place import is_ours


def remembered_under(model: LoadedModel, folder: Path) -> str:
    """Its words_fingerprint, for the template, special tokens and end tokens that come first in a cache; others, as of
    a model whose chat template was edited since, have a name of their own. folder: one of the cache's, in whose `words`
    it is written which came first. Raises RunError where that cannot be written."""
    name = words_fingerprint(model)
    if is_ours(model.spec.name):
        return name
    special = sorted(str(token) for token in model.tokenizer.get_added_vocab())
    words = json.dumps([str(model.tokenizer.chat_template), special, sorted(end_ids(model))])
    own, first = hashlib.sha256(words.encode()).hexdigest()[:8], folder.parent / "words" / name
    try:
        first.parent.mkdir(parents=True, exist_ok=True)
        try:
            with first.open("x", encoding="utf-8") as file:
                file.write(own)
            return name
        except FileExistsError:
            return name if first.read_text(encoding="utf-8") in (own, "") else f"{name}-{own}"
    except OSError as error:
        raise storage_error(first, error) from error


def words_fingerprint(model: LoadedModel) -> str:
    """Of the weights, of the template that words are written under where it is not the model's own, and of a model that
    sees by how its processor prepares pictures: one that is assembled here has its weights for it."""
    name = model_fingerprint(model)
    if "enable_thinking" in str(model.tokenizer.chat_template):
        # Before they were asked to, such models thought aloud.
        name += "-unthinking"
    is_own = model.spec.chat_template == "model"
    if is_own and not model.sight:
        return name
    begins = str(model.tokenizer.chat_template).startswith(BEGINNING)
    name += ("" if is_own else f"-{model.spec.chat_template}") + ("-begun" if begins else "")
    if model.sight is None or model.spec.name in ASSEMBLED:
        return name
    prepared = json.dumps(model.sight.tokens.processor.image_processor.to_dict(), sort_keys=True, default=str)
    return f"{name}-{hashlib.sha256(prepared.encode()).hexdigest()[:8]}"
