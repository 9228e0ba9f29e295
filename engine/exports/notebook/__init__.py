"""A view of a run as a notebook that reads the run's files with public functions and draws the same figure."""
