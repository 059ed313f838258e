"""What a schedule is, and how far it is: what the store keeps of it, encoded, without looking inside."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["CatchUp", "Overlap", "ScheduleDefinition", "ScheduleOutcome", "ScheduleState"]

Overlap = Literal["allow", "skip", "queue_one", "cancel_running"]
CatchUp = Literal["none", "one", "all"]
ScheduleOutcome = Literal["", "started", "triggered", "skipped", "missed"]


class ScheduleDefinition(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When something starts, and what. Times are epoch seconds."""

    expression: str  # cron, an alias, or `@every` and an interval
    starts: bytes  # what it starts, as `Startables` has packed it
    shown: str = ""  # the same for people
    jobs: int = 1  # how many jobs it is; more in a workflow
    timezone: str = "UTC"
    overlap: Overlap = "allow"
    catch_up: CatchUp = "one"
    catch_up_limit: int = 100  # how many missed times `catch_up="all"` makes up for
    start: float | None = None  # no time before it
    end: float | None = None  # no time after it


class ScheduleState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far a schedule is. No two states of one schedule are the same, so a guard cannot mistake one for another."""

    revision: str  # new whenever somebody changes it, not when it is due
    anchor: float  # from where intervals count, if the definition has no start
    next_at: float | None = None  # the next of its times; None: there is none any more
    paused: bool = False
    disabled: bool = False  # the code that declared it declares it no more
    started: int = 0  # how many jobs were started
    last_at: float | None = None  # the time for which the last job was started
    last_id: str = ""  # of that job
    outcome: ScheduleOutcome = ""  # what became of the time that came last
    outcome_at: float | None = None
    active: tuple[str, ...] = ()  # jobs that may go on, where overlap matters
    queued: str = ""  # the one that starts when the last of these has ended
    linked: bool = False  # the end of the last of these lets a job go that waits for it
