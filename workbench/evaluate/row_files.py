"""Name or upload a file of requests of another kind than text. Knows nothing of what is in it."""

import hashlib
from pathlib import Path

from streamlit.delta_generator import DeltaGenerator

from engine.records.files import write_whole
from workbench.kit.state import settings

FILE, UPLOAD = "another file", "an upload"


def named_file(place: DeltaGenerator, name: str, *, label: str, placeholder: str, form: str) -> str:
    """The path as it is written, '' before it is. name: of the widget.  form: how rows look."""
    return place.text_input(
        label, key=f"evaluate_{name}_file", persist_state="session", placeholder=placeholder, help=form
    ).strip()


def uploaded_file(place: DeltaGenerator, name: str, *, form: str) -> str:
    """The path where the file was put, by its content; '' before there is one."""
    file = place.file_uploader("Upload requests", type=["jsonl"], key=f"evaluate_{name}_upload", help=form)
    if file is None:
        return ""
    content = file.getvalue()
    target: Path = settings().uploads / f"{hashlib.sha256(content).hexdigest()[:16]}.jsonl"
    if not target.exists():
        write_whole(target, content)
    return str(target)
