"""The engine: records (what is written down), compute (what needs the model), and the worker that connects them."""
