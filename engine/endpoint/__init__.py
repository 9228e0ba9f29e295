"""An OpenAI-compatible endpoint in front of the worker. Loads no model."""
