"""Choose blocks on a strip, and a prompt set by its source. Knows the form's draft, nothing of what is done with it."""

import hashlib
import re
from pathlib import Path

import streamlit as st

from engine.records.blocks import format_blocks, paper_layer, parse_blocks
from engine.records.conversation import Label
from engine.records.errors import SpecError, WorkbenchError
from engine.records.files import write_whole
from engine.records.row_files import REFUSED_SUFFIXES
from engine.records.sources import HUB, PICTURES, SAMPLE, TOOLS, sample_sources, source_texts
from workbench.kit.state import settings
from workbench.kit.words import plain
from workbench.train.checks import SIDES
from workbench.train.draft import set_field
from workbench.train.fields import Form, problem, spec_field

# Of an uploaded file's name.
NAME_LETTERS = 60
KINDS = {"sample": "Sample set", "file": "File or several", "hub": "Hugging Face", "upload": "Upload"}


def block_strip(form: Form, path: str, *, label: str) -> None:
    """All blocks of the model in a row: click them, or write the list; each follows the other.

    The text is the truth. The strip is set from it before it is drawn, and a click writes the text.
    """
    written, told = st.columns([1, 2.2], gap="medium", vertical_alignment="bottom")
    with written:
        text = str(spec_field(form, path, label=label))
    if form.card is None:
        told.caption("The strip of blocks appears when the model's facts are known; the list can be written already.")
        return
    key = f"strip_{path.replace('.', '_')}"
    blocks = _parsed(text, form.card.block_count)
    if blocks is not None and st.session_state.get(key) != list(blocks):
        st.session_state[key] = list(blocks)
    if blocks and path not in form.problems:
        told.caption(_blocks_caption(blocks))
    st.segmented_control(
        f"{label}, by click",
        options=range(form.card.block_count),
        selection_mode="multi",
        key=key,
        label_visibility="collapsed",
        width="stretch",
        wrap=True,
        on_change=_take_clicks,
        args=(path, key),
    )


def source_picker(form: Form, label: Label) -> None:
    """Where one side's prompts come from: a set that ships, a file, a dataset, or an upload that is kept as a file."""
    path = SIDES[label]
    source = str(form.content[path])
    key = f"source_kind_{label}"
    if key not in st.session_state:
        st.session_state[key] = _kind(source)
    kind = st.segmented_control(
        f"Source of {label} prompts",
        options=list(KINDS),
        format_func=KINDS.__getitem__,
        key=key,
        required=True,
        wrap=True,
        label_visibility="collapsed",
        help="Sample sets ship with the workbench; those named tools: hold requests to agents, those "
        "named pictures: requests that show pictures. Files: JSONL with "
        "'prompt' or 'messages' and perhaps 'tools', a JSON list, CSV or Parquet. Several sources, divided by ';', "
        "each with what is taken of it: 'sample:harmful; tools:harmful rows=100'. docs/data.md lists the options.",
    )
    value = f"source_value_{label}_{kind}"
    if kind == "sample":
        names = sample_sources()
        index = names.index(source) if source in names else None
        chosen = st.selectbox(
            f"Sample set, {label}",
            names,
            index=index,
            format_func=lambda name: name.removeprefix(SAMPLE),
            key=value,
            placeholder="Choose a set",
        )
        _offer(path, source, chosen or "")
    elif kind == "file":
        current = source if _kind(source) == "file" else ""
        _offer(path, source, st.text_input(f"File of {label} prompts", current, key=value, placeholder="prompts.jsonl"))
    elif kind == "hub":
        current = source.removeprefix(HUB) if source.startswith(HUB) else ""
        chosen = st.text_input(f"Hugging Face dataset, {label}", current, key=value, placeholder="owner/dataset")
        _offer(path, source, f"{HUB}{chosen}" if chosen else "")
    else:
        _take_upload(path, source, label, value)
    problem(form, path)


def _offer(path: str, source: str, chosen: str) -> None:
    """Take a newly chosen source and draw the page again, so that checks and facts are those of the new one. Where
    none is given, say which one is in use."""
    chosen = chosen.strip()
    if not chosen:
        st.caption(f"Nothing is given here yet. In use: {plain(source)}")
    elif chosen != source:
        set_field(path, chosen)
        st.rerun()


def _take_upload(path: str, source: str, label: Label, key: str) -> None:
    file = st.file_uploader(f"Upload {label} prompts", type=["jsonl", "json", "csv", "parquet"], key=key)
    if file is None:
        if Path(source).parent == settings().uploads:
            st.caption(f"In use: {plain(Path(source).name)}")
        else:
            _offer(path, source, "")
        return
    suffix = Path(file.name).suffix.lower()
    if suffix in REFUSED_SUFFIXES:
        st.error("Such a file may run code when it is opened: convert it to JSON or JSONL first.")
        return
    content = file.getvalue()
    # Known by its content, and called as the user calls it.
    stem = re.sub(r"[^\w.-]+", "_", Path(file.name).stem)[:NAME_LETTERS].strip("._")
    name = "-".join(filter(None, (stem, hashlib.sha256(content).hexdigest()[:16])))
    target = settings().uploads / f"{name}{suffix}"
    try:
        if not target.exists():
            write_whole(target, content)
    except WorkbenchError as error:
        st.error(plain(str(error)))
        return
    _offer(path, source, str(target))


def _take_clicks(path: str, key: str) -> None:
    # Loading another spec forgets the strip; its change is then reported without a value, and is none of the user's.
    if key in st.session_state:
        set_field(path, format_blocks(st.session_state[key] or []))


def _parsed(text: str, block_count: int) -> tuple[int, ...] | None:
    try:
        return parse_blocks(text, block_count)
    except SpecError:
        return () if not text.strip() else None


def _blocks_caption(blocks: tuple[int, ...]) -> str:
    layers = format_blocks([paper_layer(block) for block in blocks])
    count = "1 block" if len(blocks) == 1 else f"{len(blocks)} blocks"
    return f"{count}: {format_blocks(blocks)}. In the paper's counting, layer{'s' * (len(blocks) != 1)} {layers}."


def _kind(source: str) -> str:
    sources = source_texts(source)
    if len(sources) == 1 and " " not in source:
        if source.startswith((SAMPLE, TOOLS, PICTURES)):
            return "sample"
        if source.startswith(HUB):
            return "hub"
    return "file"
