"""A strip beneath the slider of blocks: which of them are targets, which carry adapters. Pure: no Streamlit."""

from collections.abc import Sequence

from engine.figures.colours import HARMFUL, REROUTE
from engine.records.blocks import format_blocks


def block_strip(blocks: Sequence[int], targets: Sequence[int], adapted: Sequence[int]) -> str:
    """HTML: a mark a block, under the place that the slider has for it."""
    width = 100 / max(1, len(blocks) - 1)
    marks = []
    for place, block in enumerate(blocks):
        kind = "target" if block in targets else "adapted" if block in adapted else "captured"
        ground = {"target": HARMFUL, "adapted": REROUTE, "captured": "currentColor"}[kind]
        look = f"left:{place * width:.3f}%;width:calc({width:.3f}% - 1px);background:{ground}"
        look += {"target": ";height:9px", "adapted": ";height:5px", "captured": ";height:3px;opacity:.25"}[kind]
        marks.append(f"<span title='block {block}: {kind}' data-kind='{kind}' style='{look}'></span>")
    style = (
        ".block-strip{position:relative;height:9px;margin:-0.7rem 6px 0}"
        ".block-strip span{position:absolute;top:0;min-width:2px;max-width:14px;transform:translateX(-50%);"
        "border-radius:1px}"
    )
    return f"<style>{style}</style><div class='block-strip'>{''.join(marks)}</div>"


def strip_words(blocks: Sequence[int], targets: Sequence[int], adapted: Sequence[int]) -> str:
    """What the strip shows, for a caption: each mark's colour before its words, which a colour would make too pale."""
    parts = []
    if targets:
        parts.append(f":orange[■] **target {format_blocks(list(targets))}**")
    if adapted:
        parts.append(f":yellow[■] adapters {format_blocks(list(adapted))}")
    return " · ".join([*parts, f"captured {format_blocks(list(blocks))}"])
