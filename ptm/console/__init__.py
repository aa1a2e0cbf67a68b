"""The live line at the bottom of a terminal, and what feeds it."""
