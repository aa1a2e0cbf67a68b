"""Warm start: load the weights of another model, and check that they fit."""
