"""Settlements as the arguments of a script, and the answers of the script as those of the contract."""

from __future__ import annotations

from collections.abc import Sequence

from heeler.brokers.redis.connection import Argument
from heeler.brokers.redis.options import RedisOptions
from heeler.brokers.redis.publishing import Places, publication_arguments
from heeler.brokers.redis.stored import LETTERS, encode
from heeler.model import (
    Action,
    Arrival,
    SettleAnswer,
    Settlement,
    SettleResult,
    all_ok,
    encode_bare_record,
    settlement_too_large,
)

__all__ = ["Settling", "ending_arguments"]

_ACCEPTED = SettleResult(SettleAnswer.ACCEPTED)
_LOST = SettleResult(SettleAnswer.LOST)
_ACTIONS = {Action.ACK: "ACK", Action.DEAD_LETTER: "DEAD", Action.RETRY: "RETRY", Action.RELEASE: "RELEASE"}


class _Ends:
    """Deliveries of one queue that just end, and which of them arrive at which latch, by their number here."""

    __slots__ = ("arguments", "arrivals", "numbers")

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.arguments: list[Argument] = []
        self.arrivals: dict[str, list[Argument]] = {}

    def arrive(self, arrivals: Sequence[Arrival]) -> None:
        """The delivery that was added last arrives there."""
        number, known = len(self.numbers), self.arrivals
        for arrival in arrivals:
            at_latch = known.get(arrival.latch)
            if at_latch is None:
                at_latch = known[arrival.latch] = []
            at_latch += (number, arrival.member)


class Settling:
    """One batch: what just ends is grouped by queue, between what brings something about, which keeps its turn.

    Who ends well and arrives at latches just ends, too: the order in which members end well means nothing.
    """

    __slots__ = ("_groups", "_options", "_order", "_places", "_plain", "_reasons", "arguments", "script")

    def __init__(self, settlements: Sequence[Settlement], options: RedisOptions, places: Places) -> None:
        self._options = options
        self._places = places
        self._groups = 0
        self._plain: dict[str, _Ends] = {}
        self._order: list[int] = []  # in which order the script answers
        self._reasons: dict[int, str] = {}
        self.arguments: list[Argument] = [0]
        most = options.max_payload
        is_plain = True
        for number, settlement in enumerate(settlements):
            reason = settlement_too_large(settlement, most)
            if settlement.action is Action.ACK and settlement.follow_ups is None and not reason:
                arrivals = settlement.arrivals
                if not arrivals:
                    self._add_plain(number, settlement)
                    continue
                is_plain = False
                if all_ok(arrivals):
                    self._add_plain(number, settlement).arrive(arrivals)
                    continue
            is_plain = False
            self._end_plain()
            self._add_other(number, settlement, reason)
        self._end_plain()
        self.arguments[0] = self._groups
        self.script = "settle" if is_plain else "settle_all"

    def _add_plain(self, number: int, settlement: Settlement) -> _Ends:
        envelope = settlement.delivery.envelope
        ends = self._plain.get(envelope.queue)
        if ends is None:
            ends = self._plain[envelope.queue] = _Ends()
        ends.numbers.append(number)
        receipt = settlement.delivery.receipt
        ends.arguments.extend((receipt.id, receipt.tag or b"", *ending_arguments(settlement)))
        return ends

    def _end_plain(self) -> None:
        for queue, ends in self._plain.items():
            self._groups += 1
            self._order += ends.numbers
            self.arguments += ["J" if ends.arrivals else "E", queue, len(ends.numbers)]
            self.arguments += ends.arguments
            if ends.arrivals:
                self.arguments.append(len(ends.arrivals))
                for latch, members in ends.arrivals.items():
                    self.arguments += [latch, len(members) // 2]
                    self.arguments += members
        self._plain.clear()

    def _add_other(self, number: int, settlement: Settlement, reason: str) -> None:
        self._groups += 1
        self._order.append(number)
        receipt = settlement.delivery.receipt
        rest: list[Argument] = []
        if reason:
            self._reasons[number] = reason
        else:
            rest = self._rest(settlement)
        self.arguments += [
            "A",
            settlement.delivery.envelope.queue,
            receipt.id,
            receipt.tag or b"",
            receipt.epoch,
            "CHECK" if reason else _ACTIONS[settlement.action],
            len(rest),
        ]
        self.arguments += rest

    def _rest(self, settlement: Settlement) -> list[Argument]:
        envelope = settlement.delivery.envelope
        record = settlement.record
        if settlement.action is Action.ACK:
            rest = ending_arguments(settlement)
        elif settlement.action is Action.DEAD_LETTER:
            rest = [
                *ending_arguments(settlement),
                settlement.reason,
                encode(settlement.errors),
                settlement.attempts,
                settlement.crashes,
                self._options.dead_letter_ttl,
                self._options.dead_letter_limit,
            ]
        else:
            rest = [
                settlement.delay,
                settlement.attempts,
                settlement.crashes,
                "1" if settlement.suspect else "",
                settlement.note,
                envelope.reply_to or "",
                encode_bare_record(record) if record is not None else "",
            ]
        if settlement.follow_ups is None:
            rest.append("")
        else:
            rest.append("1")
            rest += publication_arguments(settlement.follow_ups, self._places, self._options.max_payload)
        rest.append(len(settlement.arrivals))
        for arrival in settlement.arrivals:
            rest += [arrival.latch, arrival.member, arrival.kind.value, arrival.job]
        return rest

    def results(self, said: Sequence[bytes]) -> list[SettleResult]:
        """One answer for each settlement, from what the script says of those that were not accepted."""
        results = [_ACCEPTED] * len(self._order)
        for n in range(0, len(said), 2):
            number = self._order[int(said[n]) - 1]
            if said[n + 1] == b"I":
                results[number] = SettleResult(SettleAnswer.INVALID, self._reasons.get(number, "it cannot be stored"))
            else:
                results[number] = _LOST
        return results


def ending_arguments(settlement: Settlement) -> list[Argument]:
    """Epoch, time and kind in one text, of which a batch has few; whom to tell; the record."""
    envelope = settlement.delivery.envelope
    record = settlement.record
    if envelope.keep > 0 and record is not None and envelope.keeps_result:
        kept = "R"
    elif envelope.keep > 0 and envelope.fingerprint:
        kept = "N"
    else:
        kept = "D"
    letter = LETTERS[record.status] if record is not None else "-"
    return [
        f"{settlement.delivery.receipt.epoch} {envelope.keep!r} {letter} {kept}",
        envelope.reply_to or "",
        encode_bare_record(record) if record is not None else "",
    ]
