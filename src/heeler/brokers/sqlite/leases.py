"""Which leases are held, and what comes back when they run out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from heeler.brokers.sqlite.step import Step

__all__ = ["Held", "bring_back", "held_leases"]

_AT_ONCE = 1000  # scheduled jobs of a queue, or leases, that one step brings back


class Held(msgspec.Struct, frozen=True, gc=False):
    """A lease whose holder may still settle or renew it.

    `line` is where its job waits (queue, rank, place) if it ran out and no other has begun yet.
    """

    epoch: int
    cancelled: bool
    line: tuple[int, int, int] | None = None


def held_leases(step: Step, receipts: Sequence[tuple[int, int]]) -> dict[int, Held]:
    """Which of the leases (seq, epoch) are held, by seq."""
    seqs = f"[{','.join([str(seq) for seq, _ in receipts])}]"
    leased = {row[0]: row for row in step.run("leases", (seqs,))}
    held: dict[int, Held] = {}
    for seq, epoch in receipts:
        row = leased.get(seq)
        if row is not None:
            if row[1] == epoch:
                held[seq] = Held(epoch, bool(row[2]))
        elif (row := step.row("held_lapse", (seq, epoch))) is not None:
            queue, rank, place, cancelled = row
            held[seq] = Held(epoch, bool(cancelled), (queue, rank, place))
    return held


def bring_back(step: Step, queues: Iterable[int]) -> None:
    """Let scheduled jobs of these queues come due, and leases of all run out."""
    for queue in queues:
        due = step.run("come_due", (queue, step.now, _AT_ONCE)).fetchall()
        if due:
            step.run_many("unschedule", [(queue, at, place) for _, place, _, _, at in due])
            step.run_many("make_ready", [(queue, rank, place, seq, task) for rank, place, seq, task, _ in due])
            step.work_for(queue, len(due))
    for seq, queue, rank, task, place in step.run("lapsed_leases", (step.now, _AT_ONCE)).fetchall():
        step.run("remember_lapse", (step.now, seq))
        step.run("end_lease", (seq,))
        step.run("make_ready", (queue, rank, place, seq, task))
        step.work_for(queue)
