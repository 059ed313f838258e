"""Settlements of jobs whose messages travel elsewhere, as the arguments of a script, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from heeler.brokers.redis.connection import Argument
from heeler.brokers.redis.ordered_jobs import as_given, encode_letter, unsent_of
from heeler.brokers.redis.publishing import Places, publication_arguments
from heeler.brokers.redis.settling import ending_arguments
from heeler.contracts import Applied, Unsent
from heeler.model import Action, SettleAnswer, Settlement, encode_bare_record, letter_of

__all__ = ["Applying", "end_key"]

_NO_LIMIT = 1 << 62  # what is too large was refused before
_LOST = Applied(SettleAnswer.LOST)
_ACTIONS = {Action.ACK: "ACK", Action.DEAD_LETTER: "DEAD", Action.RETRY: "RETRY", Action.RELEASE: "RELEASE"}


def end_key(id: str, sent: int) -> str:
    """The key of the errand that follows from the end of the message that carries this epoch."""
    return f"e{sent}/{id}"


class Applying:
    """One batch for lua/ordered_apply.lua: what just ends stands in groups between what brings something about.

    `known`: with all that is needed of a job that the store has forgotten.
    """

    __slots__ = ("_known", "_places", "_plain", "_settlements", "arguments")

    def __init__(self, settlements: Sequence[Settlement], places: Places, *, known: bool = False) -> None:
        self._settlements = settlements
        self._places = places
        self._known = known
        self._plain: list[Argument] = []
        self.arguments: list[Argument] = [0]
        for settlement in settlements:
            if (
                settlement.action is Action.ACK
                and settlement.follow_ups is None
                and not settlement.arrivals
                and not known
            ):
                self._plain.append(settlement.delivery.receipt.id)
                self._plain += ending_arguments(settlement)
            else:
                self._end_plain()
                self._add_other(settlement)
        self._end_plain()

    def _begin_group(self) -> None:
        self.arguments[0] += 1  # type: ignore[operator]

    def _end_plain(self) -> None:
        if self._plain:
            self._begin_group()
            self.arguments += ["E", len(self._plain) // 4]
            self.arguments += self._plain
            self._plain = []

    def _add_other(self, settlement: Settlement) -> None:
        self._begin_group()
        delivery = settlement.delivery
        given = as_given(delivery.envelope) if self._known else ("", "")
        rest = self._rest(settlement)
        self.arguments += ["A", delivery.receipt.id, delivery.receipt.epoch, *given]
        self.arguments += [_ACTIONS[settlement.action], len(rest)]
        self.arguments += rest

    def _rest(self, settlement: Settlement) -> list[Argument]:
        rest: list[Argument]
        record = settlement.record
        if settlement.action is Action.ACK:
            rest = [*ending_arguments(settlement), ""]
        elif settlement.action is Action.DEAD_LETTER:
            rest = [*ending_arguments(settlement), encode_letter(letter_of(settlement, 0.0))]
        else:
            rest = [
                settlement.delay,
                settlement.attempts,
                settlement.crashes,
                "1" if settlement.suspect else "",
                settlement.note,
                settlement.delivery.envelope.reply_to or "",
                encode_bare_record(record) if record is not None else "",
            ]
        if settlement.follow_ups is None:
            rest.append("")
        else:
            rest.append("1")
            rest += publication_arguments(settlement.follow_ups, self._places, _NO_LIMIT)
        rest.append(len(settlement.arrivals))
        for arrival in settlement.arrivals:
            rest += [arrival.latch, arrival.member, arrival.kind.value, arrival.job]
        return rest

    def answers(self, said: Sequence[Any]) -> tuple[list[Applied], list[int]]:
        """One answer for each settlement, and which are to be asked again with all that is known of them."""
        answers: list[Applied] = []
        for settlement in self._settlements:
            receipt = settlement.delivery.receipt
            answers.append(Applied(SettleAnswer.ACCEPTED, Unsent(end_key(receipt.id, receipt.epoch))))
        again: list[int] = []
        for number, letter, *more in said:
            at = number - 1
            if letter == b"A":
                again.append(at)
            elif letter == b"L":
                answers[at] = _LOST
            elif letter == b"M":
                receipt = self._settlements[at].delivery.receipt
                answers[at] = Applied(SettleAnswer.ACCEPTED, Unsent(end_key(receipt.id, more[0])))
            else:
                answers[at] = Applied(SettleAnswer.ACCEPTED, unsent_of(more[0]))
        return answers, again
