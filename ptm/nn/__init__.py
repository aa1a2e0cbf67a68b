"""Torch modules: attention, feed-forward, norms, positions, dropout, embeddings, heads, losses.

Except for `model_shape`, which is plain data without torch.
"""
