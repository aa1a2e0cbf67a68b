"""Engines: DeepSpeed around a plan, as one module or as a pipeline."""
