"""What a file that leaves this machine must not say: folders, the machine's and the user's name, tokens of hubs.

Texts in, texts out. Knows nothing of what the texts are about.
"""

import getpass
import re
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.records.places import PART, last_part, last_parts
from engine.records.settings import ROOT, Settings

TOKEN = re.compile(r"\b(?:hf_|sk-|ghp_|github_pat_)[A-Za-z0-9_-]{8,}")
LEFT_OUT = "(left out)"
# Names that say nothing of anyone, and that texts hold as words.
_COMMON = {"root", "user", "admin", "localhost", "test", "home", "runs", "cache"}


class Private:
    """What must not be said of one machine, read once."""

    def __init__(self, settings: Settings) -> None:
        own = [settings.runs, settings.cache, settings.desk, ROOT, Path.home(), Path(tempfile.gettempdir())]
        folders = sorted({str(folder) for folder in own if len(folder.parts) > 1}, key=len, reverse=True)
        # What lies in a folder keeps its own name; a folder alone keeps none.
        self._folders = re.compile(
            r"(?<![\w.])(?:" + "|".join(map(re.escape, folders)) + rf")(?![\w-])((?:[/\\]{PART}+)*)[/\\]?"
        )
        names = {socket.gethostname(), socket.gethostname().partition(".")[0], _user()} - {""}
        known = sorted((name for name in names if len(name) > 2 and name.lower() not in _COMMON), key=len, reverse=True)
        self._names = re.compile(r"\b(?:" + "|".join(map(re.escape, known)) + r")\b") if known else None

    def said(self, text: str) -> str:
        """A text that people or models wrote: without the workbench's own folders and tokens, else as it stands."""
        return TOKEN.sub(LEFT_OUT, self._folders.sub(lambda found: last_part(found[1]) or LEFT_OUT, text))

    def of_machine(self, text: str) -> str:
        """A text that the workbench wrote, such as a field of a spec or an error: of every place its last part alone,
        and neither the machine's name nor the user's."""
        text = last_parts(self.said(text))
        return self._names.sub(LEFT_OUT, text) if self._names else text

    def everywhere(self, content: Any, *, change: Callable[[str], str] | None = None) -> Any:
        """A tree of dicts, lists and texts with each text, keys too, changed: by `said` unless another is given."""
        change = change or self.said
        if isinstance(content, str):
            return change(content)
        if isinstance(content, dict):
            return {
                self.everywhere(key, change=change): self.everywhere(value, change=change)
                for key, value in content.items()
            }
        if isinstance(content, list | tuple):
            return [self.everywhere(value, change=change) for value in content]
        return content


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # An account without an entry, as in some containers.
        return ""
