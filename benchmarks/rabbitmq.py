"""The tables of RabbitMQ. Each begins a private server; the queues of a case are deleted when it ends."""

from benchmarks.measure import in_process, medians
from benchmarks.rabbitmq_delays import measure
from benchmarks.rabbitmq_raw import FIGURES
from benchmarks.rabbitmq_server import delete_queues, private_rabbitmq
from benchmarks.tables import console, table

QUEUE_TYPES = ("quorum", "classic")
STORES = {"Redis": "{redis}", "none": "none://"}
JOBS = 40_000
DELAYED, LONGEST = 100_000, 120.0  # messages, seconds


def _case(url: str, queue_type: str, name: str, runs: int, results: str, **options: object) -> dict[str, float]:
    def once() -> dict[str, float]:
        try:
            return in_process(name, f"{url}?queue_type={queue_type}", results, **options)
        finally:
            delete_queues(url, "heeler.default", "heeler.dead")

    return medians(runs, once)


def jobs(runs: int) -> None:
    with private_rabbitmq() as url:
        _drains(url, runs)
        _enqueues(url, runs)
        _latencies(url, runs)


def _drains(url: str, runs: int) -> None:
    shown = table("RabbitMQ, drain: one worker process, no-op with two ints", "queues", "results", "jobs/s", "CPU")
    for queue_type in QUEUE_TYPES:
        for store, results in STORES.items():
            got = _case(url, queue_type, "rabbitmq_jobs:drain", runs, results, jobs=JOBS)
            shown.add_row(queue_type, store, f"{got['jobs/s']:,.0f}", f"{got['CPU µs/job']:.1f} µs/job")
    console.print(shown)


def _enqueues(url: str, runs: int) -> None:
    columns = ("queues", "results", "in bulk", "one by one", "concurrently (async)")
    shown = table("RabbitMQ, enqueue from one process, each job confirmed", *columns)
    cases = (("enqueue_many", JOBS), ("enqueue_one_by_one", 2_000), ("enqueue_concurrently", 10_000))
    for queue_type in QUEUE_TYPES:
        for store, results in STORES.items():
            rates = [_case(url, queue_type, name, runs, results, jobs=count)["jobs/s"] for name, count in cases]
            shown.add_row(queue_type, store, *(f"{rate:,.0f}/s" for rate in rates))
    console.print(shown)


def _latencies(url: str, runs: int) -> None:
    columns = ("queues", "results", "start p50", "p99", "result p50", "p99")
    shown = table("RabbitMQ, latency on an idle system, worker in another process", *columns)
    for queue_type in QUEUE_TYPES:
        for store, results in (("rpc://", "rpc://"), ("Redis", "{redis}")):
            got = _case(url, queue_type, "latency", runs, results, jobs=300)
            shown.add_row(queue_type, store, *(f"{value:.2f} ms" for value in got.values()))
    console.print(shown)


def distance(runs: int) -> None:
    """How far jobs are from bare messages, and why."""
    shown = table("RabbitMQ, bare clients and jobs, in turns", "queues", "", *FIGURES)
    stages: list[tuple[str, str, dict[str, float]]] = []
    with private_rabbitmq() as url:
        for queue_type in QUEUE_TYPES:
            cases = [("our frames", "rabbitmq_raw:raw_frames", "none://"), ("pika", "rabbitmq_raw:raw_pika", "none://")]
            cases += [(f"jobs, results: {store}", "rabbitmq_jobs:as_bare", where) for store, where in STORES.items()]
            for label, case, results in cases:
                got = _case(url, queue_type, case, runs, results, jobs=JOBS // 2)
                shown.add_row(queue_type, label, *(_figure(name, got[name]) for name in FIGURES))
            for store, results in STORES.items():
                stages.append(
                    (queue_type, store, _case(url, queue_type, "rabbitmq_jobs:stages", runs, results, jobs=JOBS // 4))
                )
    console.print(shown)
    why = table("RabbitMQ, CPU of this process, µs per job by stage", "queues", "results", *stages[0][2])
    for queue_type, store, took in stages:
        why.add_row(queue_type, store, *(f"{value:.1f}" for value in took.values()))
    console.print(why)


def _figure(name: str, value: float) -> str:
    return f"{value:.2f}" if name.endswith("ms") else f"{value:,.0f}"


def delays(count: int) -> None:
    """One run of each: it takes longer than the longest delay."""
    title = f"RabbitMQ, {count:,} messages with delays of up to {LONGEST:g} s, evenly mixed: how late they come"
    shown = table(title, "queues", "published", "early", "p50", "p99", "max")
    for queue_type in QUEUE_TYPES:
        got = measure(queue_type, count, LONGEST)
        late = (f"{got[name]:,.0f} ms" for name in ("p50 ms", "p99 ms", "max ms"))
        shown.add_row(queue_type, f"{got['published/s']:,.0f}/s", f"{got['early']:.0f}", *late)
    console.print(shown)
