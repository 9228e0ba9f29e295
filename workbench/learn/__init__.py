"""Parts of the page Learn: units, one step with its check, what stands beside it, the teacher's sheet."""
