"""The requests about pictures that ship, each with its own, where the named pictures are fetched. Knows nothing of
chats."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from engine.records.conversation import Label
from engine.records.errors import DataError
from engine.records.kept_pictures import keep_picture
from engine.records.picture_sets import named_pictures
from engine.records.prompt_files import read_source
from engine.records.prompts import Prompt
from engine.records.sources import PICTURES
from workbench.chat.library import Shelf
from workbench.kit.state import settings
from workbench.pictures.choice import choose


def requests() -> Shelf | None:
    """None where their pictures are not fetched."""
    return REQUESTS if REQUESTS.prompts("benign") else None


def _requests(label: Label) -> Sequence[Prompt]:
    try:
        return _read(label)
    except DataError:
        return []


@lru_cache(maxsize=2)
def _read(label: Label) -> Sequence[Prompt]:
    return read_source(f"{PICTURES}{label}", label=label)


def _choose_its_picture(prompt: Prompt) -> None:
    """A copy of it among the pictures that can be asked about."""
    for picture in prompt.conversation.pictures[:1]:
        file = Path(picture.file)
        try:
            content = file.read_bytes()
        except OSError as error:
            raise DataError(
                f"The picture {file.name} is gone with its package: `python -m engine fetch pictures` fetches it again."
            ) from error
        choose(keep_picture(settings(), content, _names().get(file, file.name)).sha256)


@lru_cache(maxsize=1)
def _names() -> Mapping[Path, str]:
    """Of files that are called by a number."""
    try:
        return {one.file: one.name for one in named_pictures(settings())}
    except DataError:
        return {}


REQUESTS = Shelf("pictures_library", _requests, _choose_its_picture)
