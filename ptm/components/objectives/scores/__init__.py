"""Scores of evaluation sets: what the official scripts and libraries of each task compute."""
