"""Cron expressions, read and computed by cronsim, in a time zone.

Where clocks are put forward or back the rules are cronsim's, which follow Debian's cron. With five fields, if neither
minute nor hour begins with a star, the job is due at a time of day: one that does not exist on that day comes when the
clocks have been put forward, one that exists twice comes the first time only. All other expressions go by what the
clock shows: what it skips is left out, what it shows twice comes twice. (On Lord Howe Island, where clocks change by
half an hour, cronsim can miss a time of such an expression in the hours after they are put back.)
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, tzinfo

from cronsim import CronSim, CronSimError

from heeler.triggers.cron_errors import check_fields, impossible

__all__ = ["CronTrigger"]

_SOME_DAY = datetime(2024, 1, 1, tzinfo=UTC)
_ORDINAL = re.compile(r"\b(\d*[02-9])?([123])th\b")
_ENDINGS = {"1": "st", "2": "nd", "3": "rd"}


class CronTrigger:
    """An expression of five fields, or of six with seconds first. Raises ConfigurationError for a wrong one."""

    def __init__(self, expression: str, zone: tzinfo, shown: str | None = None) -> None:
        self._expression = expression
        self._zone = UTC if getattr(zone, "key", None) == "UTC" else zone  # for which cronsim has a shorter way
        shown = shown or expression
        check_fields(expression, shown)
        try:
            simulated = CronSim(expression, _SOME_DAY)
        except CronSimError as error:
            raise impossible(shown, str(error)) from None
        self._words = _ORDINAL.sub(lambda found: f"{found[1] or ''}{found[2]}{_ENDINGS[found[2]]}", simulated.explain())
        if next(simulated, None) is None:
            raise impossible(shown, "no day in fifty years fits")

    def next_after(self, moment: float) -> float | None:
        """The first time later than `moment`; None if there is none within fifty years."""
        begin = datetime.fromtimestamp(math.floor(moment), self._zone)
        for found in CronSim(self._expression, begin):
            at = found.timestamp()
            if at > moment:  # in the second of two equal hours cronsim begins with times of the first one
                return at
        return None

    def explain(self) -> str:
        return self._words
