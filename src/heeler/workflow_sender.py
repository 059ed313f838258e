"""Seals a compiled workflow and publishes it: small ones in one step, large ones in batches as they are drawn."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from heeler.arguments import Gap
from heeler.dag.compile import (
    Close,
    Entry,
    Item,
    Measure,
    Planned,
    PlannedJob,
    PlannedLatch,
    PlannedRelay,
    compile_workflow,
)
from heeler.dag.place import KEPT_WHILE_UNFINISHED, Input, Place, Relay, Source, encode_place, relay_envelope
from heeler.dag.shape import Record, Shape, encode_record, encode_shape, root_path
from heeler.dag.sketch import Call, Graph, Group, Sketch, Steps
from heeler.dag.template import MARK, Template
from heeler.dag.travel import travelling
from heeler.errors import HeelerError, IdConflict, InvalidWorkflow, PayloadTooLarge
from heeler.model import Envelope, Latch, LatchRule, Publication
from heeler.overrides import Overrides
from heeler.producer import Producer
from heeler.task_spec import TaskSpec
from heeler.workflow_result import WorkflowResult, find_workflow

__all__ = ["KEPT_WHILE_UNFINISHED", "STREAM_DEADLINE", "Leaf", "PreparedWorkflow", "WorkflowOptions", "WorkflowSender"]

STREAM_DEADLINE = 300.0
"""Seconds after which a workflow is broken whose producer has died before it had sent all of it."""

BATCH = 500  # envelopes and latches in one publication
_BATCH_BYTES = 1 << 20


class Leaf(NamedTuple):
    """What a call of a sketch is: the task, the arguments (with gaps for nodes, by number), the options."""

    spec: TaskSpec
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    ask: Overrides
    producer: Producer


class WorkflowOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for of the workflow as a whole. `keep` is its result_ttl; None: the longest of its tasks'."""

    id: str | None = None
    name: str = ""
    keep: float | None = None


class PreparedWorkflow(NamedTuple):
    """A handle, and what somebody else publishes for it, in this order; what may start at once is in the last one."""

    result: WorkflowResult[Any]
    publications: list[Publication]


class WorkflowSender:
    """Sends workflows for one app."""

    def __init__(self, producer: Producer) -> None:
        self.producer = producer
        self._connections = producer.connections

    def send(self, sketch: Sketch, options: WorkflowOptions) -> WorkflowResult[Any]:
        """Publish a workflow; when this returns, the broker holds all of it."""
        self._connections.opened_blocking()
        if not self._joins:
            prepared = self._travelling(sketch, options)
            self.producer.publish_each(iter(prepared.publications))
            return prepared.result
        id, is_chosen = self._id(options)
        if is_chosen:
            there = self._connections.io.run(self._there(sketch, id, options))
            if there is not None:
                return there
        sending = _Sending(self, sketch, id, options)
        try:
            self.producer.publish_each(sending.publications())
        except BaseException:
            if sending.is_begun:
                self._connections.io.run(self._give_up(id))
            raise
        finally:
            sending.close()
        return sending.result()

    async def asend(self, sketch: Sketch, options: WorkflowOptions) -> WorkflowResult[Any]:
        """`send` from async code."""
        if not self._connections.is_open:
            await self._connections.io.arun(self._connections.opened())
        if not self._joins:
            prepared = self._travelling(sketch, options)
            await self.producer.apublish_each(iter(prepared.publications))
            return prepared.result
        id, is_chosen = self._id(options)
        if is_chosen:
            there = await self._connections.io.arun(self._there(sketch, id, options))
            if there is not None:
                return there
        sending = _Sending(self, sketch, id, options)
        try:
            await self.producer.apublish_each(sending.publications())
        except BaseException:
            if sending.is_begun:
                await self._connections.io.arun(self._give_up(id))
            raise
        finally:
            sending.close()
        return sending.result()

    def prepare(self, sketch: Sketch, options: WorkflowOptions) -> PreparedWorkflow:
        """The handle, and what is to be published."""
        if not self._joins:
            return self._travelling(sketch, options)
        id, _ = self._id(options)
        sending = _Sending(self, sketch, id, options)
        return PreparedWorkflow(publications=list(sending.publications(watched=False)), result=sending.result())

    def template(self, sketch: Sketch, options: WorkflowOptions, most: int) -> Template:
        """What somebody else keeps to start the workflow again and again; the same workflow, the same template.

        Middleware is not asked. Raises InvalidWorkflow for one of more than `most` jobs, and what wrong calls raise.
        """
        if options.id is not None:
            raise InvalidWorkflow(f"what starts again and again cannot have the one id {options.id!r}")
        return _Template(self, sketch, options, most).template()

    @property
    def _joins(self) -> bool:
        """Whether something remembers what has ended, and what came of it."""
        store = self._connections.store
        return store is not None and store.readable and self._connections.broker.features.joins

    def _travelling(self, sketch: Sketch, options: WorkflowOptions) -> PreparedWorkflow:
        """What is to be published where nothing is stored. Raises ConfigurationError for what needs a store."""
        id, _ = self._id(options)
        sending = _Sending(self, sketch, id, options)
        envelopes = tuple(travelling(sketch, root_path(_kind(sketch), id), sending.seal_travelling))
        for envelope in envelopes:
            _check_size(envelope, self._connections.broker.max_payload)
        publications = [
            Publication(envelopes=envelopes[start : start + BATCH]) for start in range(0, len(envelopes), BATCH)
        ]
        return PreparedWorkflow(sending.result(), publications)

    def _id(self, options: WorkflowOptions) -> tuple[str, bool]:
        return (options.id, True) if options.id is not None else self.producer.sealer.new_id()

    async def _there(self, sketch: Sketch, id: str, options: WorkflowOptions) -> WorkflowResult[Any] | None:
        """The workflow that has this id already, if all of it was sent."""
        [latch] = await self._connections.needed_store().latches([id], with_data=False)
        if latch is None or (latch.total is None and not latch.stopped):
            return None
        found = await find_workflow(self.producer.source, id)
        known = found._record.fingerprint
        if known and _is_static(sketch) and _Sending(self, sketch, id, options).fingerprint() != known:
            raise IdConflict(
                f"the id {id!r} belongs to another workflow, or one with other arguments; choose another id, or leave "
                f"it out"
            )
        return found

    async def _give_up(self, id: str) -> None:
        """What was sent of a workflow that will not be sent to its end shall not run."""
        try:
            await self._connections.needed_store().break_latches([id], cancelled=True)
        except HeelerError as error:
            self._connections.logger.warning(
                "the workflow %s was not sent to its end; it is broken in %.0f s: %s", id, STREAM_DEADLINE, error
            )


class _Sending:
    """One workflow on its way."""

    def __init__(self, sender: WorkflowSender, sketch: Sketch, id: str, options: WorkflowOptions) -> None:
        self._producer = sender.producer
        self._prepare = sender.producer.sealer.prepare_member
        self._connections = sender._connections
        self._sketch = sketch
        self._id = id
        self._options = options
        self._queue: str | None = None
        self._keep = 0.0
        self._jobs = 0
        self._sealed: dict[str, Envelope] = {}
        self._digest = hashlib.blake2b(digest_size=16)
        self._envelopes: list[Planned] = []
        self._latches: dict[str, PlannedLatch | Latch] = {}
        self._bytes = 0
        self._total = 0
        self._at = self._producer.source.clock.time()
        self._record = Record(Shape(_kind(sketch)), name=options.name, enqueued_at=self._at)
        self._living: Any = None
        self.is_begun = False  # something of it is published, and more will be

    def result(self) -> WorkflowResult[Any]:
        return WorkflowResult(self._producer.source, self._id, self._record)

    def publications(self, *, watched: bool = True) -> Iterator[Publication]:
        """All of it, in batches. Raises what is wrong with a call, and InvalidWorkflow."""
        compiling = compile_workflow(self._sketch, self._id)
        answer: int | None = None
        while True:
            try:
                item = compiling.send(answer)
            except StopIteration as stop:
                shape: Shape = stop.value
                break
            answer = None
            if isinstance(item, Measure):
                answer = self._measure(item.job)
                continue
            if self._is_full():
                yield self._unfinished(watched=watched)
            self._take(item)
        self._record = self._whole(shape)
        root = self._latches.get(self._id)
        self._latches[self._id] = self._root(root, self._total, encode_record(self._record))
        yield self._publication()

    def fingerprint(self) -> bytes:
        """What tells it from other workflows; nothing is published."""
        for _ in self.publications(watched=False):
            pass
        return self._record.fingerprint

    def close(self) -> None:
        """Nothing more is sent."""
        if self._living is not None:
            self._living.cancel()
            self._living = None

    def seal_travelling(self, call: Call, path: str, first: Source | None) -> Envelope:
        """The envelope of a call that travels."""
        leaf: Leaf = call.leaf
        args = leaf.args if first is None else (Gap(first), *leaf.args)
        envelope, gaps = self._producer.sealer.prepare_member(leaf.spec, args, leaf.kwargs, leaf.ask, path)
        inputs = tuple(Input(way, gap.source) for way, gap in gaps)
        return msgspec.structs.replace(envelope, place=encode_place(Place(inputs))) if inputs else envelope

    # Taking in

    def _take(self, item: Item) -> None:
        if isinstance(item, PlannedLatch):
            self._latches[item.id] = item
            for planned in (item.release, item.on_break):
                if planned is not None:
                    self._bytes += self._measure(planned)
        elif isinstance(item, Entry):
            self._envelopes.append(item.job)
            self._bytes += self._measure(item.job)
        elif isinstance(item, Close):
            if item.latch == self._id:
                self._total = item.total
                return
            known = self._latches.get(item.latch)
            data = encode_shape(item.shape)
            if isinstance(known, PlannedLatch):
                self._latches[item.latch] = self._latch(known, item.total, data)
            else:
                self._latches[item.latch] = Latch(id=item.latch, rule=LatchRule.ALL_OK, total=item.total, data=data)

    def _measure(self, planned: Planned) -> int:
        if isinstance(planned, PlannedRelay):
            return sum(self._measure(job) for job in planned.jobs)
        envelope = self._sealed.get(planned.id)
        if envelope is None:
            envelope = self._sealed[planned.id] = self._seal(planned)
        return len(envelope.body) + len(envelope.place)

    def _is_full(self) -> bool:
        return len(self._envelopes) + len(self._latches) >= BATCH or self._bytes > _BATCH_BYTES

    # Sealing

    def _seal(self, planned: PlannedJob) -> Envelope:
        leaf: Leaf = planned.call.leaf
        if leaf.producer is not self._producer:
            raise InvalidWorkflow(f"{leaf.spec.name} is a task of another app; all jobs of a workflow are of one app")
        args = leaf.args if planned.first is None else (Gap(planned.first), *leaf.args)
        envelope, gaps = self._prepare(leaf.spec, args, leaf.kwargs, leaf.ask, planned.id)
        inputs = tuple(Input(way, _source(gap, planned)) for way, gap in gaps)
        place = encode_place(Place(inputs, planned.exempt, follows=planned.waits))
        self._digest.update(b"%d %d " % (len(envelope.body), len(place)))
        self._digest.update(envelope.body + place + f"{planned.id} {envelope.task} {envelope.queue}".encode())
        self._queue = self._queue or envelope.queue
        keep = envelope.keep
        if not planned.is_callback:
            self._jobs += 1
            self._keep = max(self._keep, keep)
            keep = KEPT_WHILE_UNFINISHED + envelope.delay
        return msgspec.structs.replace(
            envelope,
            scope=planned.scope,
            ends_at=planned.ends_at,
            place=place,
            keep=keep,
            keeps_result=True,
            reply_to=None,
        )

    def _envelope(self, planned: Planned | None) -> Envelope | None:
        if planned is None:
            return None
        if isinstance(planned, PlannedJob):
            self._measure(planned)
            return self._sealed.pop(planned.id)
        jobs = tuple(envelope for job in planned.jobs if (envelope := self._envelope(job)) is not None)
        relay = Relay(planned.kind, jobs, planned.latch, KEPT_WHILE_UNFINISHED)
        return self._relay_envelope(planned.id, relay, planned, jobs[0].queue if jobs else None)

    def _relay_envelope(self, id: str, relay: Relay, planned: PlannedRelay, queue: str | None) -> Envelope:
        queue = queue or self._queue or "default"
        return relay_envelope(id, relay, queue, planned.scope, planned.ends_at, self._at)

    def _latch(self, planned: PlannedLatch, total: int | None, data: bytes = b"") -> Latch:
        return Latch(
            id=planned.id,
            rule=planned.rule,
            total=total,
            envelope=self._envelope(planned.release),
            on_break=self._envelope(planned.on_break),
            scope=planned.scope,
            data=data,
            keep=KEPT_WHILE_UNFINISHED,
        )

    # Publications

    def _publication(self) -> Publication:
        envelopes = tuple(envelope for job in self._envelopes if (envelope := self._envelope(job)) is not None)
        latches = tuple(
            self._latch(latch, latch.total) if isinstance(latch, PlannedLatch) else latch
            for latch in self._latches.values()
        )
        self._envelopes, self._latches, self._bytes = [], {}, 0
        return Publication(envelopes=envelopes, latches=latches)

    def _unfinished(self, *, watched: bool) -> Publication:
        """A batch after which more come: who publishes it may die, and then the workflow is broken after a while."""
        root = self._latches.get(self._id)
        self._latches[self._id] = self._root(root, None, encode_record(self._record))
        publication = self._publication()
        if not watched or self.is_begun:
            return publication
        self.is_begun = True
        self._living = self._connections.io.submit(self._live())
        watch = PlannedRelay(f"{self._id}:watch", "watch", self._id, latch=self._id)
        relay = Relay("watch", (), self._id, STREAM_DEADLINE)
        envelope = msgspec.structs.replace(
            self._relay_envelope(watch.id, relay, watch, None), delay=STREAM_DEADLINE, keeps_result=True
        )
        return msgspec.structs.replace(publication, envelopes=(envelope, *publication.envelopes))

    async def _live(self) -> None:
        """While the stream goes on, say so, however long its next item takes."""
        broker = await self._connections.opened()
        touch = Latch(id=self._id, rule=LatchRule.ALL_OK, total=None)
        while True:
            await self._connections.clock.sleep(STREAM_DEADLINE / 3)
            try:
                await broker.publish(Publication(latches=(touch,)))
            except HeelerError as error:
                self._connections.logger.warning(
                    "the workflow %s goes on, but that cannot be said: %s", self._id, error
                )

    def _root(self, planned: PlannedLatch | Latch | None, total: int | None, data: bytes) -> Latch:
        """The workflow's own latch, as it is published first, and again while it is unfinished, and closed."""
        if isinstance(planned, PlannedLatch):
            latch = self._latch(planned, total, data)
            return msgspec.structs.replace(latch, reply_to=self._producer.sealer.address)
        return Latch(id=self._id, rule=LatchRule.ALL_OK, total=total, data=data)

    def _whole(self, shape: Shape) -> Record:
        return Record(
            shape,
            name=self._options.name,
            jobs=self._jobs,
            keep=self._kept(),
            enqueued_at=self._at,
            fingerprint=self._digest.digest(),
        )

    def _kept(self) -> float:
        """For how long all of it is kept after its end."""
        return self._options.keep if self._options.keep is not None else self._keep or 86400.0


class _Template(_Sending):
    """One that is not sent now, but made into what others send."""

    def __init__(self, sender: WorkflowSender, sketch: Sketch, options: WorkflowOptions, most: int) -> None:
        super().__init__(sender, sketch, MARK, options)
        self._prepare = sender.producer.sealer.member_template
        self._at = 0.0
        self._most = most

    def template(self) -> Template:
        [publication] = self.publications(watched=False)
        self._check_size()
        latches = tuple(msgspec.structs.replace(latch, reply_to=None) for latch in publication.latches)
        return Template(publication.envelopes, latches, self._jobs)

    def _is_full(self) -> bool:
        self._check_size()
        return False

    def _check_size(self) -> None:
        if self._jobs > self._most or len(self._envelopes) + len(self._latches) > 4 * self._most:
            raise InvalidWorkflow(
                f"it has more than the {self._most:,} jobs that can start in one step; have a task enqueue it instead, "
                f"and start that task"
            )

    def _whole(self, shape: Shape) -> Record:
        return msgspec.structs.replace(super()._whole(shape), enqueued_at=0.0, fingerprint=b"")


def _source(gap: Gap, planned: PlannedJob) -> Source:
    """What a gap is filled with; one that names a node says so by its number."""
    if isinstance(gap.source, Source):
        return gap.source
    source = planned.sources.get(gap.source)
    if source is None:
        raise InvalidWorkflow(
            f"{planned.call.task}: an argument stands for the result of a node for which this job does not wait; the "
            f"members of a group from an iterator are not looked at when it is added: name the node in `after=[…]`"
        )
    return source


def _check_size(envelope: Envelope, most: int) -> None:
    size = len(envelope.body) + len(envelope.place)
    if size > most:
        raise PayloadTooLarge(
            f"{envelope.task}: what follows this job takes {size:,} bytes, more than the {most:,} that a message may "
            f"have, and there is no store to keep it in; give `results` a URL, or make the chain shorter"
        )


def _kind(sketch: Sketch) -> Any:
    if isinstance(sketch, Call):
        return "job"
    if isinstance(sketch, Steps):
        return "chord" if sketch.is_chord else "chain"
    return "group" if isinstance(sketch, Group) else "graph"


def _is_static(sketch: Sketch) -> bool:
    """Whether it can be drawn again and again: it has no iterators."""
    if isinstance(sketch, Group):
        return not sketch.drawn_once and all(map(_is_static, sketch.members))
    parts: list[Sketch] = [*sketch.then, *sketch.catch]
    if isinstance(sketch, Steps):
        parts += sketch.steps
    elif isinstance(sketch, Graph):
        parts += [node.sketch for node in sketch.nodes]
    return all(map(_is_static, parts))
