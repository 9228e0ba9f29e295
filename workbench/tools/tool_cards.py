"""Tools as small cards with what they take. Pure: makes HTML and knows nothing of Streamlit."""

import json
from collections.abc import Sequence
from html import escape
from typing import Any

from engine.records.tool_prompts import ToolDefinition

MOST_CARDS = 60
MOST_PARAMETERS = 20
MOST_LETTERS = 300

STYLE = """
.tool-cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: 0.6rem;
  max-height: 26rem; overflow-y: auto; }
.tool-card { border: 1px solid rgba(128, 140, 150, 0.4); border-radius: 6px; padding: 0.45rem 0.65rem;
  font-size: 0.85rem; overflow-wrap: anywhere; }
.tool-card .name { font-family: monospace; font-weight: 650; }
.tool-card .domain { float: right; opacity: 0.7; font-size: 0.78rem; padding-left: 0.5rem; }
.tool-card p { margin: 0.15rem 0 0.3rem 0; font-size: 0.85rem; }
.tool-card ul { margin: 0; padding-left: 1.05rem; }
.tool-card li { margin: 0; font-size: 0.82rem; }
.tool-card code { font-size: 0.8rem; }
.tool-card .about { opacity: 0.75; }
"""


def tool_cards(tools: Sequence[ToolDefinition]) -> str:
    """A card for each tool, at most MOST_CARDS."""
    cards = "".join(map(_card, tools[:MOST_CARDS]))
    left = len(tools) - MOST_CARDS
    more = f"<div class='tool-card about'>and {left} more tools</div>" if left > 0 else ""
    return f"<div class='tool-cards' tabindex='0' role='group' aria-label='Tools on offer'>{cards}{more}</div>"


def _card(definition: ToolDefinition) -> str:
    tool = definition.tool
    properties = tool.parameters.get("properties", {})
    required = set(tool.parameters.get("required", ()))
    lines = "".join(_parameter(name, schema, name in required) for name, schema in _first(properties))
    left = len(properties) - MOST_PARAMETERS
    more = f"<li class='about'>and {left} more</li>" if left > 0 else ""
    takes = f"<ul>{lines}{more}</ul>" if properties else "<span class='about'>takes nothing</span>"
    return (
        f"<div class='tool-card'><span class='domain'>{escape(definition.domain)}</span>"
        f"<span class='name'>{_cut(tool.name)}</span><p>{_cut(tool.description)}</p>{takes}</div>"
    )


def _parameter(name: str, schema: Any, is_required: bool) -> str:
    told = [_kind(schema), *(["required"] if is_required else [])]
    about = schema.get("description", "") if isinstance(schema, dict) else ""
    said = f" {_cut(str(about))}" if about else ""
    return f"<li><code>{_cut(name)}</code> <span class='about'>({', '.join(told)}){said}</span></li>"


def _kind(schema: Any) -> str:
    """What a value of this schema is, in words."""
    if not isinstance(schema, dict):
        return "anything"
    if "enum" in schema and isinstance(schema["enum"], list):
        return "one of " + _cut(", ".join(json.dumps(one, ensure_ascii=False) for one in schema["enum"][:8]))
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"list of {_kind(schema.get('items'))}"
    return _cut(str(kind if not isinstance(kind, list) else " or ".join(map(str, kind))))


def _first(properties: dict[str, Any]) -> list[tuple[str, Any]]:
    return list(properties.items())[:MOST_PARAMETERS]


def _cut(text: str) -> str:
    return escape(text if len(text) <= MOST_LETTERS else f"{text[:MOST_LETTERS]}…")
