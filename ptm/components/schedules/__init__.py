"""Learning-rate schedules, one class per file. `AnySchedule` is their union, from this package."""

from typing import TYPE_CHECKING

from ptm.component import union_of
from ptm.components.schedules.base import Schedule

if TYPE_CHECKING:
    AnySchedule = Schedule
else:
    AnySchedule = union_of(__name__, Schedule)

__all__ = ["AnySchedule", "Schedule"]
