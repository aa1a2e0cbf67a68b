"""Sample predictions at several steps: what a model fills in or writes while it trains."""
