"""Models to load, whatever wrote them: runs, exports, imports, Hugging Face folders, the Hub."""
