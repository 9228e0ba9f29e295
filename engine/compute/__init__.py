"""What needs the model: weights, activations, losses, training. Only the worker and the command line reach it."""
