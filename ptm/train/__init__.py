"""Training: the loop, ranks, checkpoints, the run folder, trackers; engines are below."""
