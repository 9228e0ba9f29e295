"""Between screen and worker: the queue, and starting a worker. Knows nothing of torch."""
