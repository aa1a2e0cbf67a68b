"""CheckpointManager on disk: format, reading, writing and verification."""
