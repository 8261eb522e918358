"""The Slurm engine: a sweep as job arrays. State comes from the queue and from done.json, never from memory."""
