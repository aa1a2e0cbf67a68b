"""Commands that read a run or recipe and do not train: show, evaluate, list, report, verify."""
