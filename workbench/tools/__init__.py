"""The parts of the page Tools: what is offered, asked, called, and given back."""
