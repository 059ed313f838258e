"""Which leases are held, and what comes back when they run out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from heeler.brokers.sqlite.step import Step

__all__ = ["Held", "bring_back", "held_leases"]

_AT_ONCE = 500  # scheduled jobs of a queue, or leases, that one step brings back


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
            *_, at, place = due[-1]
            step.run("unschedule_until", (queue, at, place))
            step.put_back([(queue, rank, place, seq, task) for rank, seq, task, _, place in due])
    lapsed = step.run("lapsed_leases", (step.now, _AT_ONCE)).fetchall()
    if lapsed:
        step.run_many("remember_lapse", [(step.now, seq) for *_, seq, _ in lapsed])
        step.run_many("end_lease", [(seq,) for *_, seq, _ in lapsed])
        step.put_back(lapsed)
