"""The commands that README and docs/ show, read from the pages, checked and executed."""
