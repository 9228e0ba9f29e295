"""Representations: harmful and benign states before and after rerouting (?run=ID&capture=KEY&tab=...&block=...)."""

from workbench.frame import page_frame
from workbench.representations import representations

with page_frame():
    representations()
