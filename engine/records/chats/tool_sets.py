"""Prompt sets whose rows offer tools: those that ship, and files. Knows nothing of models."""

from itertools import islice

from engine.records.errors import DataError
from engine.records.prompt_files import source_file
from engine.records.row_files import file_rows
from engine.records.sources import TOOLS, parse_sources, sample_sources
from engine.records.tool_forms import own_form


def tool_sets() -> list[str]:
    """The sets that ship, harmful ones first."""
    return sorted((source for source in sample_sources() if source.startswith(TOOLS)), reverse=True)


def offers_tools(text: str) -> bool:
    """Whether the rows of these sources offer tools: told by their names, or by the first row of a file."""
    try:
        sources = parse_sources(text)
        if any(source.name.startswith(TOOLS) for source in sources):
            return True
        files = [source_file(source) for source in sources if not source.is_remote]
        rows = [own_form(row, file.name) for file in files for _, row in islice(file_rows(file), 1)]
    except DataError:
        # Whoever reads the set says what is wrong with it.
        return False
    return any(isinstance(row, dict) and bool(row.get("tools")) for row in rows)
