"""Text in: tokenizers, word segmenters, corpus files. Knows no model and no torch."""
