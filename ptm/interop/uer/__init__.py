"""UER-py and TencentPretrain: their checkpoints and configs, in and out."""
