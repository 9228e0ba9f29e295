"""A run as one HTML file that plays it, from its records to the text of the file."""

from engine.exports.bundle.content import bundle_content
from engine.exports.bundle.page import page_html
from engine.records.runs import Run
from engine.records.settings import Settings


def bundle_html(run: Run, settings: Settings, *, harmful_text: bool = True) -> str:
    """harmful_text: whether harmful requests and the answers to them are in the file, hidden until they are revealed.

    Raises RunError when the run's record or spec cannot be read.
    """
    return page_html(bundle_content(run, settings, harmful_text=harmful_text))
