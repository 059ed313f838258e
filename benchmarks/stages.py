"""Where a job's microseconds go: each stage of a job's way called by itself, in batches as a busy worker does."""

import time

from heeler.contracts import QueueShare
from heeler.model import Publication

STAGES = ("encode", "publish", "fetch", "decode", "run", "decide", "settle")
BATCH = 128


def by_stage(batches: int = 100, drained: int = 20_000) -> dict[str, float]:
    """Microseconds of wall time per job; `run` is what a worker's CPU time has beyond the other stages."""
    from benchmarks.cases import drain
    from benchmarks.jobs import app, coroutine_noop
    from heeler.worker.decide import Facts, Policy, decide
    from heeler.worker.outcome import Returned

    spec = coroutine_noop.spec
    jobs = BATCH * batches
    took = dict.fromkeys(STAGES, 0.0)

    def timed(stage, work):
        begin = time.perf_counter()
        result = work()
        took[stage] += (time.perf_counter() - begin) / jobs * 1e6
        return result

    prepare = app._producer.sealer.prepare
    app.connections.opened_blocking()
    envelopes = timed("encode", lambda: [prepare(spec, (n, n), {}).envelope for n in range(jobs)])
    published = [tuple(envelopes[start : start + BATCH]) for start in range(0, jobs, BATCH)]

    async def broker_stages():
        broker = await app.connections.opened()
        subscription = await broker.subscribe([QueueShare("default")], lease=30.0)
        begin = time.perf_counter()
        for batch in published:
            await broker.publish(Publication(envelopes=batch))
        took["publish"] = (time.perf_counter() - begin) / jobs * 1e6
        begin = time.perf_counter()
        deliveries = [await subscription.fetch(BATCH) for _ in published]
        took["fetch"] = (time.perf_counter() - begin) / jobs * 1e6
        ended = []
        policy = Policy(content_type=spec.codec.content_type)
        value = spec.returns.encode(1, spec.codec)
        for batch in deliveries:
            begin = time.perf_counter()
            for delivery in batch:
                spec.parameters.decode(delivery.envelope.body, spec.codec, True)
            decoded = time.perf_counter()
            now = time.time()
            ended.append(
                [
                    decide(Returned(value), Facts(delivery, policy, "benchmark", now, started_at=now))
                    for delivery in batch
                ]
            )
            took["decode"] += (decoded - begin) / jobs * 1e6
            took["decide"] += (time.perf_counter() - decoded) / jobs * 1e6
        begin = time.perf_counter()
        for settlements in ended:
            await broker.settle(settlements)
        took["settle"] = (time.perf_counter() - begin) / jobs * 1e6

    app.connections.io.run(broker_stages())
    whole = drain("coroutine", drained)["CPU µs/job"]
    took["run"] = max(0.0, whole - took["fetch"] - took["decode"] - took["decide"] - took["settle"])
    return took
