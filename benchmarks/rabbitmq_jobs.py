"""Jobs through RabbitMQ, with results in a store or without: how fast they are drained, and where the time goes."""

import asyncio
import time

from benchmarks.jobs import app, coroutine_noop
from benchmarks.measure import percentile
from heeler.contracts import Outgoing, QueueShare
from heeler.model import Publication

STAGES = ("encode", "reserve", "publish", "receive", "begin", "decode", "run", "decide", "apply", "ack")
BATCH = 128
IN_FLIGHT = 100
PATIENCE = 15.0  # seconds
ended = 0


@app.task
async def counted_noop(a: int, b: int) -> int:
    global ended
    ended += 1
    return a + b


def drain(jobs: int) -> dict[str, float]:
    """Enqueue, then start one worker in this process and time it until all have ended and it has stopped."""
    for _ in counted_noop.enqueue_iter((n, n) for n in range(jobs)):
        pass
    return _drained(jobs)


def _wait_for(jobs: int) -> None:
    """Return when so many have run here. Raises TimeoutError when no more come.

    What came back as a suspect, because this process had no turn for a while, runs in a child, and is not seen.
    """
    before, progress_at = ended, time.monotonic()
    while ended < jobs:
        if ended > before:
            before, progress_at = ended, time.monotonic()
        elif time.monotonic() > progress_at + PATIENCE:
            raise TimeoutError(
                f"{jobs - ended} of {jobs} jobs did not run here; is the machine busy with other things?"
            )
        time.sleep(0.002)


def _drained(jobs: int) -> dict[str, float]:
    worker = app.worker()
    cpu, begin = time.process_time(), time.perf_counter()
    worker.start()
    _wait_for(jobs)
    worker.stop()
    worker.wait()
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    app.close()
    return {"jobs/s": ended / seconds, "CPU µs/job": cpu / ended * 1e6}


def as_bare(jobs: int) -> dict[str, float]:
    """What `rabbitmq_raw` measures of bare messages, of jobs."""
    counted_noop.enqueue(0, 0)
    begin = time.perf_counter()
    counted_noop.enqueue_many([(n, n) for n in range(jobs)])
    figures = {"bulk/s": jobs / (time.perf_counter() - begin)}
    took = []
    for n in range(max(1, jobs // 20)):
        begin = time.perf_counter()
        counted_noop.enqueue(n, n)
        took.append(time.perf_counter() - begin)
    figures["one by one/s"] = len(took) / sum(took)
    figures["round trip p50 ms"] = percentile(took, 0.5) * 1e3
    side_by_side = jobs // 4 // IN_FLIGHT

    async def enqueue_some() -> None:
        for n in range(side_by_side):
            await counted_noop.aenqueue(n, n)

    async def enqueue_in_flight() -> float:
        begin = time.perf_counter()
        await asyncio.gather(*(enqueue_some() for _ in range(IN_FLIGHT)))
        return time.perf_counter() - begin

    figures["100 in flight/s"] = side_by_side * IN_FLIGHT / asyncio.run(enqueue_in_flight())
    figures["consumed/s"] = _drained(1 + jobs + len(took) + side_by_side * IN_FLIGHT)["jobs/s"]
    return figures


def stages(jobs: int) -> dict[str, float]:
    """Microseconds of CPU per job, in this process; `run` is what a worker's CPU time has beyond the other stages."""
    from heeler.worker.decide import Facts, Policy, decide
    from heeler.worker.outcome import Returned

    spec = coroutine_noop.spec
    prepare = app._producer.sealer.prepare
    app.connections.opened_blocking()
    took = dict.fromkeys(STAGES, 0.0)

    def took_since(begin: float) -> float:
        return (time.thread_time() - begin) / jobs * 1e6

    begin = time.thread_time()
    envelopes = [prepare(spec, (n, n), {}).envelope for n in range(jobs)]
    took["encode"] = took_since(begin)
    batches = [tuple(envelopes[start : start + BATCH]) for start in range(0, jobs, BATCH)]

    async def plain_stages() -> None:
        """The messages by themselves, before anything is taken down of their jobs."""
        broker = (await app.connections.opened()).plain
        begin = time.thread_time()
        for batch in batches:
            await broker.publish([Outgoing(envelope) for envelope in batch])
        took["publish"] = took_since(begin)
        subscription = await broker.subscribe([QueueShare("default")], 30.0, "benchmark")
        left = jobs
        while left:
            begin = time.thread_time()
            await subscription.ready()
            fetched = await subscription.fetch(BATCH, 1 << 24, frozenset(), frozenset())
            took["receive"] += took_since(begin)
            begin = time.thread_time()
            await broker.acknowledge([one.tag for one in fetched])
            took["ack"] += took_since(begin)
            left -= len(fetched)
        await subscription.quiet()

    async def all_stages() -> None:
        broker = await app.connections.opened()
        begin = time.thread_time()
        for batch in batches:
            await broker.publish(Publication(envelopes=batch))
        took["reserve"] = took_since(begin) - took["publish"]
        subscription = await broker.subscribe([QueueShare("default")], lease=30.0)
        policy = Policy(content_type=spec.codec.content_type)
        value = spec.returns.encode(1, spec.codec)
        left = jobs
        while left:
            begin = time.thread_time()
            await subscription.ready()
            deliveries = await subscription.fetch(BATCH)
            took["begin"] += took_since(begin)
            begin = time.thread_time()
            for delivery in deliveries:
                spec.parameters.decode(delivery.envelope.body, spec.codec, True)
            took["decode"] += took_since(begin)
            begin, now = time.thread_time(), time.time()
            ends = [
                decide(Returned(value), Facts(delivery, policy, "benchmark", now, started_at=now))
                for delivery in deliveries
            ]
            took["decide"] += took_since(begin)
            begin = time.thread_time()
            await broker.settle(ends)
            took["apply"] += took_since(begin)
            left -= len(deliveries)
        took["begin"] -= took["receive"]
        took["apply"] -= took["ack"]
        await subscription.quiet()

    app.connections.io.run(plain_stages())
    app.connections.io.run(all_stages())
    whole = drain(jobs)["CPU µs/job"]
    others = ("receive", "begin", "decode", "decide", "apply", "ack")
    took["run"] = max(0.0, whole - sum(took[stage] for stage in others))
    return took
