"""Attacks: each a generator that asks one model the same requests in its own way. Knows nothing of verdicts."""
