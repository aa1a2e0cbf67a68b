"""A W&B workspace and report for the runs of a project, as code."""
