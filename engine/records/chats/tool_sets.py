"""Prompt sets whose rows offer tools: `tools:harmful`, `tools:benign`, or one's own file. Knows nothing of models."""

from itertools import islice

from engine.records.conversation import Label
from engine.records.errors import DataError
from engine.records.prompt_files import file_rows
from engine.records.settings import given_path
from engine.records.sources import SAMPLE
from engine.records.tool_prompts import ToolPrompt, read_tool_prompts

TOOLS = "tools:"
TOOL_SETS = (f"{TOOLS}harmful", f"{TOOLS}benign")


def offers_tools(source: str) -> bool:
    """Whether the rows of this set offer tools: told by its name, or by the first row of a file."""
    if source.startswith(TOOLS):
        return True
    try:
        rows = list(islice(file_rows(given_path(source, error=DataError)), 1))
    except DataError:
        # Whoever reads the set says what is wrong with it.
        return False
    return any(isinstance(row, dict) and isinstance(row.get("tools"), list) for _, row in rows)


def read_tool_set(source: str, *, label: Label) -> list[ToolPrompt]:
    """The requests of a set with tools; those of a file that do not say their label have this one. Raises DataError
    naming file, row and value."""
    name = f"{SAMPLE}{source.removeprefix(TOOLS)}" if source.startswith(TOOLS) else source
    return read_tool_prompts(name, label=label)
