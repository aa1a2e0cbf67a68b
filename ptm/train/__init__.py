"""Training: the loop, checkpoints, the run folder and trackers. Engines are in `ptm.engines`."""
