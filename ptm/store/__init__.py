"""Token stores: what `ptm preprocess` writes and training maps into memory. No torch."""
