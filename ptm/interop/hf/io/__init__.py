"""Files of Hugging Face folders: configuration, weights and tokenizers, read and written."""
