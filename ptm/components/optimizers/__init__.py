"""Optimizers, one class per file. `AnyOptimizer` is their union, collected from this package."""

from typing import TYPE_CHECKING

from ptm.component import union_of
from ptm.components.optimizers.base import Optimizer

if TYPE_CHECKING:
    AnyOptimizer = Optimizer
else:
    AnyOptimizer = union_of(__name__, Optimizer)

__all__ = ["AnyOptimizer", "Optimizer"]
