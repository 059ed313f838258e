"""What a job costs a Redis server: commands, CPU, bytes, while it is enqueued in bulk and drained by one worker."""

import os

from redis import Redis

FIGURES = ("commands enqueued", "commands drained", "CPU µs enqueued", "CPU µs drained", "bytes waiting", "bytes ended")
LONGEST = "longest script ms"
_LOGGED_FROM = 500  # microseconds


def redis_costs(jobs: int) -> dict[str, float]:
    """Figures for each job, and for how long one script has blocked the server at most."""
    from benchmarks.cases import drain_waiting
    from benchmarks.jobs import app, coroutine_noop

    with Redis.from_url(os.environ["HEELER_URL"]) as server:
        coroutine_noop.enqueue(0, 0)
        server.config_set("slowlog-log-slower-than", _LOGGED_FROM)
        server.config_set("slowlog-max-len", 100_000)
        before = _look(server)
        last = coroutine_noop.enqueue_many([(n, n) for n in range(jobs)])[-1]
        enqueued = _look(server)
        drain_waiting(app, last)
        drained = _look(server)
        longest = max([entry["duration"] for entry in server.slowlog_get(100_000)], default=_LOGGED_FROM)
    steps = [
        [later - sooner for later, sooner in zip(after, earlier, strict=True)]
        for after, earlier in ((enqueued, before), (drained, enqueued))
    ]
    return {
        "commands enqueued": steps[0][0] / jobs,
        "commands drained": steps[1][0] / jobs,
        "CPU µs enqueued": steps[0][1] / jobs * 1e6,
        "CPU µs drained": steps[1][1] / jobs * 1e6,
        "bytes waiting": steps[0][2] / jobs,
        "bytes ended": (drained[2] - before[2]) / jobs,
        LONGEST: longest / 1e3,
    }


def _look(server: Redis) -> tuple[float, float, float]:
    """Scripts called so far, seconds of CPU, bytes in use."""
    scripts = server.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"]
    cpu = server.info("cpu")
    return scripts, cpu["used_cpu_user"] + cpu["used_cpu_sys"], server.info("memory")["used_memory"]


def redis_commands() -> int:
    """How many commands clients have sent to the Redis server so far; 0 where the benchmark runs on another broker."""
    url = os.environ["HEELER_URL"]
    if not url.startswith("redis"):
        return 0
    with Redis.from_url(url) as server:
        stats = server.info("commandstats")
        return sum(figures["calls"] for name, figures in stats.items() if name in _SENT)


# What Heeler's clients send; all others in the statistics are called by its scripts.
_SENT = ("cmdstat_evalsha", "cmdstat_eval", "cmdstat_ping", "cmdstat_subscribe", "cmdstat_unsubscribe")
