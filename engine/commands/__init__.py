"""What each command of `python -m engine` does."""
