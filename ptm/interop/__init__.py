"""Import and export of models: Hugging Face folders, UER-py checkpoints, runs of `ptm`."""
