"""Inference: fill masks, embed texts, generate text."""
