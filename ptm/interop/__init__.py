"""In and out: Hugging Face folders, and whatever else weights can come from."""
