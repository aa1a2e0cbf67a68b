"""Weights to start from: which are taken, and whether they fit."""
