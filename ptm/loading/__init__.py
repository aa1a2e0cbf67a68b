"""From a store to tensors: the index of an epoch, rows, micro-batches, prefetching."""
