"""What a run in this process sees of itself. The facts are put together only when somebody looks at them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from heeler.errors import HeelerError
from heeler.model import Publication, RunInfo
from heeler.task_context import TaskContext
from heeler.worker.decide import read_note
from heeler.worker.run import Run

__all__ = ["RunContext", "Voice", "describe_run"]


class Voice(msgspec.Struct, eq=False):
    """What all runs of one worker share to speak through: who they run on, their state, and who hears reports."""

    worker_id: str
    state: Any
    heard: Callable[[Run], None]


def describe_run(run: Run, worker_id: str, now: float) -> RunInfo:
    """The facts of a run, as its context shows them. `now` stands for its start where it has not started."""
    delivery = run.delivery
    envelope = delivery.envelope
    recipe = run.recipe
    assert recipe is not None
    note = read_note(delivery)
    started_at = now if run.started_at is None else run.started_at
    return RunInfo(
        id=envelope.id,
        task=envelope.task,
        queue_name=envelope.queue,
        attempt=delivery.attempts + 1,
        max_attempts=recipe.policy.retry.max_attempts,
        crashes=delivery.crashes,
        deadline=None if recipe.timeout is None else started_at + recipe.timeout,
        enqueued_at=envelope.enqueued_at,
        headers={**envelope.headers, **run.carried} if run.carried else envelope.headers,
        previous_error=note.errors[-1] if note.errors else None,
        worker_id=worker_id,
        saved=note.saved,
    )


class RunContext(TaskContext):
    """A TaskContext that costs next to nothing until it is used: most tasks never look."""

    __slots__ = ("_facts", "_voice", "run")

    def __init__(self, run: Run, voice: Voice) -> None:
        self.run = run
        self._voice = voice
        self._facts: RunInfo | None = None
        self.state = voice.state

    def carry(self, headers: Mapping[str, str]) -> None:
        self.run.carried = {**(self.run.carried or {}), **headers}

    # What TaskContext keeps in slots is worked out at the first look.

    @property
    def _channel(self) -> LiveChannel:  # type: ignore[override]
        return LiveChannel(self.run, self._voice)

    @property
    def _info(self) -> RunInfo:  # type: ignore[override]
        if self._facts is not None:
            return self._facts
        run = self.run
        started_at = run.started_at
        if started_at is None:  # somebody logs while its arguments are decoded
            return describe_run(run, self._voice.worker_id, run.delivery.leased_at)
        self._facts = describe_run(run, self._voice.worker_id, started_at)
        return self._facts


class LiveChannel:
    """The way from a context to the worker that runs it; may be used from any thread."""

    __slots__ = ("_run", "_voice")

    def __init__(self, run: Run, voice: Voice) -> None:
        self._run = run
        self._voice = voice

    @property
    def cancelled(self) -> bool:
        return self._run.cancelled

    @property
    def saved(self) -> Any:
        run = self._run
        data = run.saved if run.saved is not None else read_note(run.delivery).saved
        assert run.recipe is not None
        return None if data is None else run.recipe.result_codec.decode(data)

    def report(self, fraction: float | None, message: str | None) -> None:
        run = self._open("progress")
        if fraction is not None:
            run.fraction = fraction
        if message is not None:
            run.message = message
        self._voice.heard(run)

    def save(self, value: Any) -> None:
        run = self._open("save")
        assert run.recipe is not None
        run.saved = run.recipe.encode(value, run.recipe.result_codec, "saved")
        self._voice.heard(run)

    def follow_up(self, publication: Publication) -> None:
        run = self._open("enqueue")
        run.follow_ups = (*run.follow_ups, *publication.envelopes)
        run.follow_latches = (*run.follow_latches, *publication.latches)

    def _open(self, verb: str) -> Run:
        run = self._run
        if run.ended or run.interrupt is not None:
            raise HeelerError(
                f"{run.delivery.envelope.task} ({run.delivery.envelope.id}): context.{verb} was called after the run "
                "was over (it ended, timed out, was cancelled, or lost its lease); it has no effect"
            )
        return run
