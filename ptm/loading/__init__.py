"""From a token store to tensors: row indexes, rows, micro-batches, prefetching."""
