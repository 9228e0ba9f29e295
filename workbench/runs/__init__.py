"""Parts of the page Runs: list, one run, controls, comparison, live figures."""
