"""Who waits for work, whom to wake, and who keeps the alarm for work that comes by time.

A subscription that finds nothing puts itself on a list in the same transaction, so a publisher that comes after sees it
there. A publisher takes about one sleeper off for each job and sends it a wake-up after its commit. Of those that sleep
on a queue one has the alarm for what comes by time; the others only look whether it was heard, a little later.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from heeler.brokers.sqlite.step import Step

__all__ = [
    "choose_sleepers",
    "choose_some",
    "go_to_sleep",
    "is_listed",
    "next_time",
    "skips_of",
]

_SLEPT_THROUGH = 1.0  # seconds after which an alarm's owner must be dead
_FIRST = 500  # jobs


def is_listed(step: Step, queue: int, address: str) -> bool:
    return step.row("is_asleep", (queue, address)) is not None


def skips_of(step: Step, tasks: frozenset[str]) -> str | None:
    """The tasks that a subscription passes over, as statements take them."""
    return json.dumps([step.task(name) for name in sorted(tasks)]) if tasks else None


def choose_sleepers(step: Step) -> None:
    """For what this step brought, take sleepers off the list, to be woken once it is committed."""
    for queue in {queue for queue, _ in step.new_ready}:
        sleepers = step.run("sleepers", (queue,)).fetchall()
        if sleepers:
            tasks = {task: jobs for (of, task), jobs in step.new_ready.items() if of == queue}
            fitting = [
                address for address, skips in sleepers if not skips or not tasks.keys() <= set(json.loads(skips))
            ]
            _take_off(step, queue, fitting[: sum(tasks.values())])
    for queue, at in step.new_due.items():
        (alarm,) = step.row("earliest_alarm", (queue, step.now - _SLEPT_THROUGH))
        if alarm is None or alarm > at:
            _take_off(step, queue, [address for address, _ in step.run("sleepers", (queue,)).fetchall()[:1]])


def choose_some(step: Step, queue: int, jobs: int) -> None:
    """Wake up to so many sleepers for what waits in the queue.

    One that passes over some tasks is woken if a job for it is among the first: to look further costs more than a
    worker that sleeps a little longer, and new jobs of other tasks wake it anyway.
    """
    sleepers = step.run("sleepers", (queue,)).fetchall()
    if not sleepers or step.row("is_work_waiting", (queue,)) is None:
        return
    first: set[int] | None = None
    chosen: list[str] = []
    for address, skips in sleepers:
        if len(chosen) >= jobs:
            break
        if skips:
            if first is None:
                first = {task for (task,) in step.run("first_tasks", (queue, _FIRST))}
            if first <= set(json.loads(skips)):
                continue
        chosen.append(address)
    _take_off(step, queue, chosen)


def _take_off(step: Step, queue: int, addresses: Sequence[str]) -> None:
    for address in addresses:
        step.run("wake", (address,))
        step.woken.append((queue, address))


def go_to_sleep(
    step: Step, queues: Sequence[int], address: str, skips: str | None
) -> tuple[float | None, float | None]:
    """Put a subscription on the list. The answer: when it is to wake by itself because no other will, and when
    something comes by time at all.
    """
    alarm: float | None = None
    lapse = step.row("next_lapse")
    following = None if lapse is None else lapse[0]
    for queue in queues:
        due = step.row("next_due", (queue,))
        at = _earlier(due and due[0], lapse and lapse[0])
        if at is None:
            continue
        following = _earlier(following, at)
        (others,) = step.row("earliest_alarm", (queue, step.now - _SLEPT_THROUGH))
        if others is None or others > at:
            alarm = _earlier(alarm, at)
    for queue in queues:
        step.run("sleep", (queue, address, alarm, skips))
    return alarm, following


def next_time(step: Step, queues: Sequence[int]) -> float | None:
    """When the next job of these queues is due, or the next lease runs out."""
    following = step.row("next_lapse")
    at: float | None = following and following[0]
    for queue in queues:
        due = step.row("next_due", (queue,))
        at = _earlier(at, due and due[0])
    return at


def _earlier(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
