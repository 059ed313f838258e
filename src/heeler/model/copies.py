"""How a job travels on where its broker keeps no row for it: as a copy of its envelope that carries its history."""

from __future__ import annotations

import msgspec

from heeler.model.delivery import DeadLetter, Settlement
from heeler.model.envelope import Envelope

__all__ = ["copy_of", "letter_of", "revived"]

_replace = msgspec.structs.replace


def copy_of(settlement: Settlement) -> Envelope:
    """The envelope of the next run after a RETRY or RELEASE."""
    return _replace(
        settlement.delivery.envelope,
        epoch=settlement.delivery.receipt.epoch + 1,
        attempts=settlement.attempts,
        crashes=settlement.crashes,
        suspect=settlement.suspect,
        note=settlement.note,
    )


def letter_of(settlement: Settlement, died_at: float) -> DeadLetter:
    """The dead letter that a DEAD_LETTER asks for; its envelope carries the epoch from which a redrive goes on."""
    envelope = settlement.delivery.envelope
    epoch = settlement.delivery.receipt.epoch
    return DeadLetter(
        id=envelope.id,
        queue=envelope.queue,
        reason=settlement.reason,
        died_at=died_at,
        task=envelope.task,
        envelope=envelope if envelope.epoch == epoch else _replace(envelope, epoch=epoch),
        errors=settlement.errors,
        attempts=settlement.attempts,
        crashes=settlement.crashes,
    )


def revived(envelope: Envelope, epoch: int) -> Envelope:
    """The envelope of a dead letter as that of a new job, without what its runs left behind."""
    return _replace(envelope, epoch=epoch, attempts=0, crashes=0, suspect=False, note=b"")
