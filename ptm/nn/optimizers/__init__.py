"""Optimizers: the updates of the parameters, as torch optimizers."""
