"""Figures of one GPU: `python -m benchmarks.gpu`."""
