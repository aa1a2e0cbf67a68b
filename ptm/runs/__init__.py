"""Commands that look at a run and do not train: show, evaluate, list, report."""
