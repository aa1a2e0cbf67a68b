"""Measurements; README.md has their results."""
