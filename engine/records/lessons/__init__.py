"""Lessons: files that teachers write, checks of the learner's own records, and what was done. Knows no models."""
