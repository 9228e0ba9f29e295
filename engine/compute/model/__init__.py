"""The model itself: weights, adapters, text, activations, generation. Knows nothing of training or attacks."""
