"""From token stores to batches: store, split, index, packing, order, masking, placement."""
