"""Several runs compared in a file: where their specs differ, curves, fronts, differences of what was answered."""
