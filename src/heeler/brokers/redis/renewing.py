"""Renewals as the arguments of a script, and what it says of them."""

from __future__ import annotations

from collections.abc import Sequence

from heeler.brokers.redis.connection import Argument
from heeler.brokers.redis.stored import encode
from heeler.model import Renewal, RenewalAnswer, RunReport

__all__ = ["renewal_answer", "renewal_arguments", "report_arguments"]


def renewal_arguments(renewals: Sequence[Renewal], lease: float) -> list[Argument]:
    """What lua/extend.lua reads."""
    arguments: list[Argument] = [lease, len(renewals)]
    for renewal in renewals:
        receipt = renewal.delivery.receipt
        envelope = renewal.delivery.envelope
        arguments += [receipt.id, receipt.tag or b"", envelope.queue, receipt.epoch, "M" if renewal.started else ""]
        arguments += report_arguments(renewal)
    return arguments


def report_arguments(renewal: Renewal) -> list[Argument]:
    """What a run says of itself; one empty text if it says nothing."""
    report = renewal.report
    if report is None:
        return [""]
    return [encode(report), renewal.delivery.envelope.reply_to or "", *_fields(report)]


def _fields(report: RunReport) -> list[Argument]:
    """What is merged into what earlier reports said; what this one leaves out is empty."""
    return [
        "" if report.started_at is None else repr(report.started_at),
        report.worker_id,
        "" if report.fraction is None else f"={report.fraction!r}",
        "" if report.message is None else f"={report.message}",
        b"" if report.saved is None else b"=" + report.saved,
    ]


def renewal_answer(said: Sequence[bytes]) -> RenewalAnswer:
    if not said:
        return RenewalAnswer()
    lost: set[str] = set()
    cancelled: set[str] = set()
    for n in range(0, len(said), 2):
        (lost if said[n] == b"L" else cancelled).add(said[n + 1].decode())
    return RenewalAnswer(frozenset(lost), frozenset(cancelled))
