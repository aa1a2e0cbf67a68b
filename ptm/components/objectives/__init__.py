"""Objectives, one class per file; `AnyObjective` is built by scanning this package."""

from typing import TYPE_CHECKING

from ptm.component import union_of
from ptm.components.objectives.base import Metric, MicroBatch, Objective

if TYPE_CHECKING:
    AnyObjective = Objective
else:
    AnyObjective = union_of(__name__, Objective)

__all__ = ["AnyObjective", "Metric", "MicroBatch", "Objective"]
