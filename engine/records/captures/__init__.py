"""What was captured: vectors on disk, maps and examinations of them, tables. Knows nothing of models."""
