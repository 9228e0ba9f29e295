"""What is evaluated and what was found: attacks, plan, rows, findings. Knows nothing of models."""
