"""From documents to rows: held-out split, indexes of examples, packing, order, placement."""
