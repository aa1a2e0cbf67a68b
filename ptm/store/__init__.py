"""Token stores, written by `ptm preprocess` and memory-mapped by training. No torch."""
