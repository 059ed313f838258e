"""When schedules are due: cron expressions, intervals, time zones. Pure: they are told the time and ask nobody."""

from heeler.triggers.cron import CronTrigger
from heeler.triggers.expression import checked_expression, read_expression
from heeler.triggers.interval import IntervalTrigger, interval_text, read_interval
from heeler.triggers.timetable import Timetable, Trigger
from heeler.triggers.zones import checked_zone, zone_named

__all__ = [
    "CronTrigger",
    "IntervalTrigger",
    "Timetable",
    "Trigger",
    "checked_expression",
    "checked_zone",
    "interval_text",
    "read_expression",
    "read_interval",
    "zone_named",
]
