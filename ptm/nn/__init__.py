"""Plain torch: attention, feed-forward, norms, positions, dropout, heads, initialisation."""
