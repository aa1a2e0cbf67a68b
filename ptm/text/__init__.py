"""Corpus files, tokenizers and word segmenters. Independent of models and of torch."""
