"""Learning-rate schedules: one class in one file each; `AnySchedule` is found by scanning."""

from typing import TYPE_CHECKING

from ptm.component import union_of
from ptm.components.schedules.base import Schedule

if TYPE_CHECKING:
    AnySchedule = Schedule
else:
    AnySchedule = union_of(__name__, Schedule)

__all__ = ["AnySchedule", "Schedule"]
