"""`ptm predict`: a predictor for each objective that has an answer per input, one per file."""
