"""Where activations lie: captures over steps, trip, projections, separation. Knows nothing of queues."""
