"""What is written down: specs, prompts, runs, events, the job queue. Knows nothing of torch or of any screen."""
