"""Import and export of UER-py and TencentPretrain checkpoints and configs."""
