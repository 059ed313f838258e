"""What to do with a job whose task is not here: leave it to the worker that has it, wait for one, or give up."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from heeler.clock import Clock
from heeler.contracts import Broker
from heeler.model import RELAY_TASK, Settlement
from heeler.worker.decide import Facts, Policy, decide
from heeler.worker.outcome import Unknown
from heeler.worker.run import Run
from heeler.worker.travelling import Travelling

__all__ = ["UnknownTasks"]

LOOK_EVERY = 1.0
_NO_POLICY = Policy()


class UnknownTasks:
    """Lives on the I/O thread. Remembers for a second which tasks other live workers have announced."""

    def __init__(
        self, broker: Broker, clock: Clock, tasks: Mapping[str, Any], worker_id: str, *, travelling: Travelling
    ) -> None:
        self._broker = broker
        self._clock = clock
        self._tasks = tasks
        self._worker_id = worker_id
        self._travelling = travelling
        self._known: set[str] = set()
        self._elsewhere: frozenset[str] = frozenset()
        self._met: frozenset[str] = frozenset()
        self._looked_at = float("-inf")

    def sort_out(self, runs: list[Run]) -> tuple[list[Run], list[Run]]:
        """Those whose task is here, and those whose task is not, or is here without its function."""
        known = self._known
        if known.issuperset([run.delivery.envelope.task for run in runs]):
            return runs, []
        known.update(name for name, task in self._tasks.items() if task.spec.function is not None)
        known.add(RELAY_TASK)
        here = [run for run in runs if run.delivery.envelope.task in known]
        return here, [run for run in runs if run.delivery.envelope.task not in known]

    def passed_over(self) -> frozenset[str]:
        """Tasks met lately that others have: not worth fetching."""
        if self._met and self._clock.monotonic() - self._looked_at > LOOK_EVERY:
            self._met = frozenset()  # asked again, because who has them may have gone
        return self._met

    async def settle(self, runs: list[Run]) -> list[Settlement]:
        """The settlements of jobs of unknown tasks. Raises BrokerUnavailable."""
        await self._look()
        known = tuple(sorted(self._known - {RELAY_TASK}))
        settlements = []
        for run in runs:
            task = run.delivery.envelope.task
            elsewhere = task in self._elsewhere
            if elsewhere:
                self._met |= {task}
            facts = Facts(
                run.delivery,
                _NO_POLICY,
                self._worker_id,
                self._clock.time(),
                chance=self._clock.random(),
                on_failure=partial(self._travelling.after_failure, run.delivery.envelope),
            )
            settlements.append(decide(Unknown(known, elsewhere), facts))
        return settlements

    async def _look(self) -> None:
        if self._broker.control is None:
            return
        now = self._clock.monotonic()
        if now - self._looked_at > LOOK_EVERY:
            live = await self._broker.control.live()
            self._elsewhere = frozenset(
                task for presence in live if presence.id != self._worker_id for task in presence.tasks
            )
            self._looked_at = now
