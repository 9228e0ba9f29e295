"""What each kind of job does, as generators: the parts of engine.compute connected. The worker advances these,
writes down what they yield, and closes them."""
