"""What a spec's text says of where prompts come from: one source, or several with their shares.

    sample:harmful
    mine.jsonl rows=500; sample:benign times=2
    sample:harmful keep=split:train rows=400 take=random answered=refusal part=train
    published:circuit_breakers_train.json answer=llama3_output take=random rows=2000 times=2 part=train
    sample:harmful rows=500 take=random picture=lent

A source is `sample:NAME`, `tools:NAME`, `pictures:NAME`, `published:FILE`, `hub:DATASET[:SPLIT]` or a path; what
follows its name says which of its rows are taken. Knows nothing of what is in a file.
"""

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.records.errors import DataError
from engine.records.settings import SAMPLE_DATA

HUB, SAMPLE, TOOLS, PICTURES, PUBLISHED = "hub:", "sample:", "tools:", "pictures:", "published:"
# A value of `keep` may hold spaces, as categories do.
_OPTION = re.compile(r"\s+(?:(?P<keep>keep)=(?P<kept>\S+(?: [^\s=]+)*)|(?P<option>[a-z_]+)=(?P<value>\S+))$")
# Where rows go that say no split of their own.
PartName = Literal["split", "train", "heldout"]


class Source(BaseModel):
    """One source and which of its rows are taken.

    answer: the field that holds the answer; empty: the spec's, or found by itself.  answered: 'given' keeps the
    file's answers, 'refusal' gives each row a refusal, whatever the spec says of answers. keep: 'field:value', only
    rows of which that is true. least_turns: rows of fewer messages are passed over. skip, rows: of those that are
    left, so many are passed over, and at most so many taken; 0: all. take: the first ones, or some that the rows'
    texts draw. times: how often each is in the set. part: train or heldout for all rows; split: by a row's own
    field, else by its text. borderline: these are harmless requests that sound harmful. picture: lent shows one of the
    named pictures to each row, in the place of its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    answer: str = ""
    answered: Literal["", "given", "refusal"] = ""
    keep: str = Field("", pattern=r"^$|^[^:]+:.+$")
    least_turns: int = Field(0, ge=0)
    skip: int = Field(0, ge=0)
    rows: int = Field(0, ge=0)
    take: Literal["first", "random"] = "first"
    times: int = Field(1, ge=1, le=1000)
    part: PartName = "split"
    borderline: bool = False
    picture: Literal["own", "lent"] = "own"

    @property
    def is_remote(self) -> bool:
        """Only the worker can read it."""
        return self.name.startswith(HUB)


def parse_sources(text: str) -> tuple[Source, ...]:
    """Raises DataError naming the source, the option and the value."""
    sources = tuple(_source(part) for part in source_texts(text))
    if not sources:
        raise DataError("No source of prompts is named: give sample:NAME, a file, or hub:DATASET.")
    return sources


def source_texts(text: str) -> list[str]:
    """The text of each source."""
    return [part.strip() for part in text.split(";") if part.strip()]


def sample_sources() -> list[str]:
    """All sets that ship, texts first."""
    texts = [f"{SAMPLE}{file.stem}" for file in sorted((SAMPLE_DATA / "prompts").glob("*.jsonl"))]
    # The tools themselves lie beside the requests that offer them.
    sets = [file.stem for file in sorted((SAMPLE_DATA / "tools").glob("*.jsonl")) if file.stem != "tools"]
    pictured = [f"{PICTURES}{file.stem}" for file in sorted((SAMPLE_DATA / "pictures").glob("*.jsonl"))]
    return [*texts, *(f"{TOOLS}{name}" for name in sets), *pictured]


def needs_worker(text: str) -> bool:
    """Whether some source of this text can be read by the worker alone. A text that cannot be parsed needs nobody."""
    try:
        return any(source.is_remote for source in parse_sources(text))
    except DataError:
        return False


def _source(text: str) -> Source:
    name, given = text, dict[str, str]()
    # From the end, so that a file's name may hold spaces and equal signs of its own before them.
    while match := _OPTION.search(name):
        option, value = match["keep"] or match["option"], match["kept"] or match["value"]
        if option not in Source.model_fields or option == "name":
            raise DataError(
                f"'{option}={value}' of the source '{_short(text)}' is unknown: the options are "
                f"{', '.join(option for option in Source.model_fields if option != 'name')}."
            )
        if option in given:
            raise DataError(
                f"The source '{_short(text)}' gives '{option}' twice, as '{value}' and as '{given[option]}': give it "
                "once."
            )
        given[option] = value
        name = name[: match.start()]
    try:
        return Source.model_validate({"name": name.strip(), **given})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = str(first["loc"][0]) if first["loc"] else "name"
        raise DataError(
            f"'{where}={given.get(where, '')}' of the source '{_short(name)}' cannot be: {first['msg']}."
        ) from error


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."
