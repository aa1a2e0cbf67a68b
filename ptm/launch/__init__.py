"""`ptm launch`: checks before DeepSpeed's launcher starts, saving on stop, a report on failures."""
