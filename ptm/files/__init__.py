"""Files on disk: bounded reading, atomic writing, and folders that ptm may remove. No torch."""
