"""A value within a sentence, for who has to find and correct it. Knows nothing of rows."""

import re
from typing import Any

# Longer than any name, role or number: such a text may be an answer, which stands in no message.
WORD_LETTERS = 40
FEW_LETTERS = 12
MOST_NAMES = 5


def shown(value: Any) -> str:
    """A number, a single word or a few letters as they stand, a longer text by its length, a list or an object by what
    it holds: errors are written into logs and shown as they are, and contents may be harmful."""
    if isinstance(value, str):
        # In other scripts a whole sentence may be as short, and have no space.
        is_word = len(value) <= WORD_LETTERS and not re.search(r"\s", value)
        return (
            repr(value)
            if value.isascii() and (is_word or len(value) <= FEW_LETTERS)
            else f"a text of {len(value)} letters"
        )
    if isinstance(value, dict):
        names = [shown(str(name)) for name in list(value)[:MOST_NAMES]]
        more = f" and {len(value) - len(names)} more" if len(value) > len(names) else ""
        return f"an object with {', '.join(names)}{more}" if names else "{}"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}" if value else "[]"
    text = repr(value)
    return text if len(text) <= WORD_LETTERS else f"a {type(value).__name__}"


def short(value: Any) -> str:
    """A value as it is written, cut: of fields that hold names and never what was said."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
