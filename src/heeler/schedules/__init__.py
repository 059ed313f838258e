"""Schedules: what they are, how they are kept and changed, `app.schedules`. What starts their jobs is `scheduler/`."""

from heeler.schedules.administration import Schedules
from heeler.schedules.declared import DeclaredSchedules
from heeler.schedules.definition import ScheduleOptions, TimingOptions, timetable_of
from heeler.schedules.schedule import Schedule
from heeler.schedules.stored import Known, entry_of, known_of
from heeler.schedules.synchronise import Drift, drift_between, synchronise

__all__ = [
    "DeclaredSchedules",
    "Drift",
    "Known",
    "Schedule",
    "ScheduleOptions",
    "Schedules",
    "TimingOptions",
    "drift_between",
    "entry_of",
    "known_of",
    "synchronise",
    "timetable_of",
]
