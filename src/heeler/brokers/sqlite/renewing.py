"""The step that keeps leases and takes in what their runs report."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from heeler.brokers.sqlite.leases import held_leases
from heeler.brokers.sqlite.step import Step
from heeler.model import (
    Renewal,
    RenewalAnswer,
    ResultRecord,
    RunReport,
    TaskStatus,
    decode_bare_record,
    encode_bare_record,
)

__all__ = ["extend"]


def extend(step: Step, renewals: Sequence[Renewal], lease: float) -> RenewalAnswer:
    until = step.now + lease
    held = held_leases(step, [(r.delivery.receipt.tag, r.delivery.receipt.epoch) for r in renewals])
    lost: set[str] = set()
    cancelled: set[str] = set()
    rows: list[tuple[float, bool, bool, int]] = []
    for renewal in renewals:
        receipt = renewal.delivery.receipt
        seq: int = receipt.tag
        known = held.get(seq)
        if known is None or known.epoch != receipt.epoch:
            lost.add(receipt.id)
            continue
        if known.line is not None:
            step.run("leave_ready", known.line)
            step.run("revive_lease", (until, seq))
            step.run("end_lapse", (seq,))
            held[seq] = msgspec.structs.replace(known, line=None)
        if known.cancelled:
            cancelled.add(receipt.id)
        rows.append((until, renewal.started, renewal.report is not None, seq))
        if renewal.report is not None:
            envelope = renewal.delivery.envelope
            row = step.row("record", (seq,))
            record = ResultRecord(envelope=envelope) if row is None else decode_bare_record(row[0], envelope)
            step.run("keep_record", (seq, encode_bare_record(_with_report(record, renewal.report)), None))
            step.event(envelope, TaskStatus.RUNNING, renewal.report)
    step.run_many("renew", rows)
    return RenewalAnswer(frozenset(lost), frozenset(cancelled))


def _with_report(record: ResultRecord, report: RunReport) -> ResultRecord:
    """The record after a run has reported: what the report leaves out stays as it was."""
    workers = record.worker_ids
    if report.worker_id and (not workers or workers[-1] != report.worker_id):
        workers = (*workers, report.worker_id)
    return msgspec.structs.replace(
        record,
        started_at=report.started_at if record.started_at is None else record.started_at,
        last_attempted_at=record.last_attempted_at if report.started_at is None else report.started_at,
        worker_ids=workers,
        fraction=record.fraction if report.fraction is None else report.fraction,
        message=record.message if report.message is None else report.message,
        saved=record.saved if report.saved is None else report.saved,
    )
