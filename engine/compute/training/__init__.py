"""Training: pairs, rows, base activations, losses, train(). Knows nothing of queues or screens."""
