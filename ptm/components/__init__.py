"""The parts that recipes choose among: a package per kind, a file per component."""
