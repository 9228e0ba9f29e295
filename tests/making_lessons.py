"""A lesson of one step, as a teacher writes it. No fixtures."""

LESSON = """\
title: A unit of my own
order: 20
minutes: 5
learns: One thing.
steps:
  - id: only
    title: Only step
    text: Some **text**.
    view: {page: representations, settings: {run: shipped, block: 19}}
    figure: {kind: heldout}
    task: Do it.
    hints: {nudge: One., suggestion: Two., show_me: Three.}
    check: {kind: asked, label: harmful, prefill: true}
"""
