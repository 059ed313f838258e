"""What a schedule may start, packed so that every process can start it, whether or not it knows the tasks.

This is the one place that knows the kinds of it: a task, or a workflow. Each is made into envelopes and latches under a
given id when its time has come; middleware is asked then, as for any other job.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import msgspec

from heeler.contracts import Broker, ResultStore
from heeler.dag.template import Template, render
from heeler.errors import ConfigurationError, InvalidWorkflow
from heeler.model import Command, Envelope, Latch, LatchRecord, LatchState, Member, TaskStatus
from heeler.producer import Producer
from heeler.task_result import TaskResult
from heeler.workflow import Composite, Signature, Workflow
from heeler.workflow_result import WorkflowResult, find_workflow
from heeler.workflow_sender import WorkflowSender

__all__ = ["MOST_BYTES", "MOST_JOBS", "Packed", "Start", "Startable", "Startables"]

MOST_JOBS = 1000
"""How many jobs a workflow may have that starts by itself: all of them become real in one step."""

MOST_BYTES = 1 << 20
"""How many bytes it may take where it is kept."""

Startable = Signature[Any] | Composite[Any] | Workflow

_TASK = "task"
_WORKFLOW = "workflow"


class Packed(NamedTuple):
    """The bytes that a store keeps, how many jobs they start, and the same for people."""

    content: bytes
    jobs: int
    shown: str


class Start(NamedTuple):
    """What is to be published, and the handle on it. Nothing is where a middleware wants it so."""

    result: TaskResult[Any] | WorkflowResult[Any]
    envelopes: tuple[Envelope, ...] = ()
    latches: tuple[Latch, ...] = ()


class _Packed(msgspec.Struct, frozen=True, array_like=True):
    kind: str
    content: bytes


_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_decode = msgspec.msgpack.Decoder(_Packed).decode
_decode_envelope = msgspec.msgpack.Decoder(Envelope).decode
_decode_template = msgspec.msgpack.Decoder(Template).decode


class Startables:
    """Packs and starts through the producer of an app."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer

    def pack(self, what: Any) -> Packed:
        """What a store keeps of it. The same, the same bytes.

        Raises InvalidArguments, ConfigurationError for what cannot be started, InvalidWorkflow for a workflow that
        cannot be started again and again.
        """
        if isinstance(what, Signature):
            return Packed(_encode(_Packed(_TASK, _encode(self._producer.sealer.template(*what.call)))), 1, what._shown)
        if isinstance(what, (Composite, Workflow)):
            template = what.template(WorkflowSender(self._producer), MOST_JOBS)
            content = _encode(_Packed(_WORKFLOW, _encode(template)))
            if len(content) > MOST_BYTES:
                raise InvalidWorkflow(
                    f"what it starts takes {len(content):,} bytes, more than the {MOST_BYTES:,} that can start in one "
                    f"step; pass references instead of data, or start a task that enqueues it"
                )
            return Packed(content, max(1, template.jobs), what._shown)
        raise ConfigurationError(
            f"a schedule starts a task or a workflow: give a signature such as task.s(1, 2), a chain, group, chord or "
            f"Workflow, got {type(what).__name__}"
        )

    async def start(
        self,
        content: bytes,
        id: str,
        headers: dict[str, str],
        ends_at: tuple[Member, ...] = (),
        *,
        held_back: bool = False,
    ) -> Start:
        """What to publish so that it runs under this id, and tells these latches when it has ended.

        With `held_back` there is one envelope at most, which starts it when it is published. Raises ValueError for
        bytes that cannot be read here, and what a middleware raises.
        """
        if self._producer.sealer.asks_middleware:  # user's code, which must not hold up the I/O thread
            return await asyncio.to_thread(self._start, content, id, headers, ends_at, held_back)
        return self._start(content, id, headers, ends_at, held_back)

    def _start(
        self, content: bytes, id: str, headers: dict[str, str], ends_at: tuple[Member, ...], held_back: bool
    ) -> Start:
        try:
            read = _decode(content)
            if read.kind == _TASK:
                return self._start_task(_decode_envelope(read.content), id, headers, ends_at)
            if read.kind == _WORKFLOW:
                return self._start_workflow(_decode_template(read.content), id, headers, ends_at, held_back)
        except msgspec.DecodeError as error:
            raise ValueError(f"what it starts cannot be read: {error}") from error
        raise ValueError(f"this Heeler cannot start a {read.kind}; upgrade it")

    def _start_task(self, template: Envelope, id: str, headers: dict[str, str], ends_at: tuple[Member, ...]) -> Start:
        result, envelope = self._producer.sealer.prepare_like(template, id, headers)
        if envelope is None:
            return Start(result)
        if ends_at:
            envelope = msgspec.structs.replace(envelope, ends_at=(*envelope.ends_at, *ends_at))
        return Start(result, (envelope,))

    def _start_workflow(
        self, template: Template, id: str, headers: dict[str, str], ends_at: tuple[Member, ...], held_back: bool
    ) -> Start:
        rendered = render(
            template,
            id,
            lambda job, job_id: self._producer.sealer.prepare_member_like(job, job_id, headers),
            self._producer.connections.clock.time(),
            ends_at=ends_at,
            held_back=held_back,
        )
        result: WorkflowResult[Any] = WorkflowResult(self._producer.source, id, rendered.record)
        return Start(result, rendered.envelopes, rendered.latches)

    # What has become of it

    async def going_on(self, store: ResultStore, ids: Sequence[str]) -> frozenset[str]:
        """Of what was started under these ids, that which has not ended: jobs, and workflows."""
        if not ids:
            return frozenset()
        records = await store.get(ids)
        going = {record.envelope.id for record in records if record is not None and not record.status.is_finished}
        others = [id for id, record in zip(ids, records, strict=True) if record is None]
        if others:
            latches = await store.latches(others, with_data=False)
            going |= {latch.id for latch in latches if latch is not None and latch.state is LatchState.OPEN}
        return frozenset(going)

    async def cancel(self, broker: Broker, ids: Sequence[str]) -> None:
        """Cancel what was started under these ids. Who has ended, stays as it is."""
        if broker.store is not None:
            records = await broker.store.get(ids)
            jobs = [id for id, record in zip(ids, records, strict=True) if record is not None]
            workflows = [id for id, record in zip(ids, records, strict=True) if record is None]
            if jobs:
                await broker.store.cancel(jobs)
            if workflows:
                await broker.store.break_latches(workflows, cancelled=True)
        if broker.control is not None:
            await broker.control.send(Command(kind="cancel", ids=tuple(ids)))

    async def statuses(self, store: ResultStore, ids: Collection[str]) -> dict[str, TaskStatus]:
        """How that stands which was started under these ids, as far as anything is known of it."""
        wanted = list(ids)
        if not wanted:
            return {}
        found = {record.envelope.id: record.status for record in await store.get(wanted) if record is not None}
        others = [id for id in wanted if id not in found]
        if others:
            latches = await store.latches(others, with_data=False)
            found |= {latch.id: await self._status(latch) for latch in latches if latch is not None}
        return found

    async def _status(self, latch: LatchRecord) -> TaskStatus:
        if latch.state is LatchState.RELEASED:
            return TaskStatus.SUCCESSFUL
        if latch.state is LatchState.BROKEN:
            return TaskStatus.CANCELLED if latch.cancelled else TaskStatus.FAILED
        if latch.ticks:
            return TaskStatus.RUNNING
        workflow = await find_workflow(self._producer.source, latch.id)
        await workflow._refresh()
        return workflow.status
