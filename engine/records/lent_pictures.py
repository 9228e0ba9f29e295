"""Requests that show a picture lent to them, whatever they ask for: what they mean must then be read in their words.

The pictures are those of packages that may be trained on (engine.records.picture_sets). Knows nothing of models.
"""

from collections.abc import Sequence

from engine.records.errors import DataError
from engine.records.picture_sets import NamedPicture, named_pictures, training_pictures
from engine.records.pictures import picture_at
from engine.records.prompts import Prompt, fraction
from engine.records.settings import read_settings


def with_lent_pictures(prompts: Sequence[Prompt], where: str) -> list[Prompt]:
    """Each prompt with one picture before the words of its last request, in the place of its own; what is asked and the
    number of the copy draw which, so that copies of a row show different ones.

    Raises DataError where the pictures are not fetched, and for a prompt that offers tools.
    """
    pictures = training_pictures(named_pictures(read_settings()))
    return [_lent(prompt, pictures, where) for prompt in prompts]


def _lent(prompt: Prompt, pictures: Sequence[NamedPicture], where: str) -> Prompt:
    if prompt.conversation.tools:
        raise DataError(f"{where}: the prompt {prompt.id} offers tools, and none of these shows a picture lent to it.")
    draw = fraction(f"lent:{prompt.copy_number}:{prompt.conversation.asked}")
    picture = picture_at(pictures[int(draw * len(pictures))].file)
    return prompt.model_copy(update={"conversation": prompt.conversation.showing(picture)})
