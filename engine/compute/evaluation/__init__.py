"""Attacks, judges, losses and kept abilities: whether a circuit breaker holds. Knows nothing of queues or screens."""
