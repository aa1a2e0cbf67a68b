"""Import from and export to Hugging Face transformers; one file per model family."""
