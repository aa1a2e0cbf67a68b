"""Models in use: filling masks, embedding texts, generating."""
