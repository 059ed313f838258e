"""Starts what schedules say when they say so: one in every worker, or by itself. None of them leads the others."""

from heeler.scheduler.loop import SchedulerLoop
from heeler.scheduler.scheduler import Scheduler

__all__ = ["Scheduler", "SchedulerLoop"]
