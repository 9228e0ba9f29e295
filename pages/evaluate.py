"""Evaluate: does a circuit breaker hold under attack, and what did it cost (?run=ID shows one run's evaluations)."""

from workbench.evaluate import evaluate
from workbench.frame import page_frame

with page_frame():
    evaluate()
