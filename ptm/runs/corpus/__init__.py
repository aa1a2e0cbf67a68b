"""The report on a corpus: `ptm corpus`, and the last lines of `ptm preprocess`."""
