"""Prints the tables. Every figure is the median of several runs, each in a process of its own."""

import argparse
from statistics import median

from benchmarks import rabbitmq, stages
from benchmarks.measure import in_process, machine, medians
from benchmarks.redis_costs import FIGURES, LONGEST
from benchmarks.redis_server import private_redis, round_trip, slowed
from benchmarks.tables import console, table

MEMORY = "memory://"
SQLITE = "sqlite:///{dir}/jobs.db"
REDIS = "{redis}"
SQLITE_NORMAL = "sqlite:///{dir}/jobs.db?synchronous=normal"
BROKERS = {"memory": MEMORY, "SQLite": SQLITE, "SQLite, synchronous=normal": SQLITE_NORMAL, "Redis": REDIS}
SERVED = {"SQLite": SQLITE, "Redis": REDIS}  # brokers that processes share


def drain(runs: int) -> None:
    shown = table("Drain: one worker process, no-op with two ints, results stored", "broker", "task", "jobs/s", "CPU")
    for name, url in BROKERS.items():
        for kind in ("coroutine", "thread"):
            got = medians(runs, lambda u=url, k=kind: in_process("drain", u, kind=k, jobs=30_000))
            shown.add_row(name, kind, f"{got['jobs/s']:,.0f}", f"{got['CPU µs/job']:.1f} µs/job")
    console.print(shown)


def enqueue(runs: int) -> None:
    shown = table("Enqueue from one process", "broker", "in bulk", "one by one", "concurrently (async)")
    for name, url in BROKERS.items():
        rates = [
            medians(runs, lambda c=case, u=url, n=jobs: in_process(c, u, jobs=n))["jobs/s"]
            for case, jobs in (
                ("enqueue_many", 60_000),
                ("enqueue_one_by_one", 3_000),
                ("enqueue_concurrently", 10_000),
            )
        ]
        shown.add_row(name, *(f"{rate:,.0f}/s" for rate in rates))
    console.print(shown)
    shown = table("Enqueue one by one on SQLite, in turns with bare sqlite3", "", "Heeler", "bare sqlite3", "share")
    for name, how in (("SQLite", "full"), ("SQLite, synchronous=normal", "normal")):
        options = {"jobs": 3_000, "synchronous": how}
        got = medians(runs, lambda u=BROKERS[name], o=options: in_process("enqueue_beside_bare_sqlite", u, **o))
        shown.add_row(name, f"{got['Heeler/s']:,.0f}/s", f"{got['bare/s']:,.0f}/s", f"{got['share']:.0%}")
    console.print(shown)


def latency(runs: int) -> None:
    shown = table(
        "Latency on an idle system, worker in another process", "broker", "start p50", "p99", "result p50", "p99"
    )
    for name, url in SERVED.items():
        got = medians(runs, lambda u=url: in_process("latency", u, jobs=300))
        shown.add_row(name, *(f"{value:.2f} ms" for value in got.values()))
    console.print(shown)


def idle(runs: int) -> None:
    del runs
    shown = table(
        "An idle worker process", "broker", "CPU", "wake-ups of its threads", "commands to the server", "memory"
    )
    for name, url in SERVED.items():
        got = in_process("idle", url, seconds=20)
        commands = f"{got['commands/s']:.2f}/s" if url == REDIS else "-"
        shown.add_row(
            name,
            f"{got['CPU s/min']:.2f} s/min",
            f"{got['wake-ups/s']:.1f}/s",
            commands,
            f"{got['PSS MB']:.0f} MB PSS",
        )
    console.print(shown)


def startup(runs: int) -> None:
    shown = table("Start", "", "import heeler", "worker's start to its first job's start")
    got = medians(runs, lambda: in_process("startup", SQLITE))
    shown.add_row("SQLite", f"{got['import ms']:.0f} ms", f"{got['first job ms']:.0f} ms")
    console.print(shown)


def backlog(runs: int) -> None:
    columns = ("broker", "backlog", "jobs/s", "share", "CPU")
    shown = table("Drain of 20,000 coroutine jobs in front of a backlog, in turns", *columns)
    cases = {
        "10,000 waiting": {"backlog": 10_000},
        "1,000,000 waiting": {"backlog": 1_000_000},
        "1,000,000 scheduled": {"scheduled": 1_000_000},
    }
    for name, url in (("memory", MEMORY), *SERVED.items()):
        got = [
            {label: in_process("drain", url, kind="coroutine", jobs=20_000, **extra) for label, extra in cases.items()}
            for _ in range(min(runs, 3))
        ]
        for label in cases:
            rate, cpu = (median(run[label][figure] for run in got) for figure in ("jobs/s", "CPU µs/job"))
            share = median(run[label]["jobs/s"] / run["10,000 waiting"]["jobs/s"] for run in got)
            shown.add_row(name, label, f"{rate:,.0f}", f"{share:.0%}", f"{cpu:.1f} µs/job")
    console.print(shown)


def memory(runs: int) -> None:
    del runs
    shown = table("Peak memory of a worker that drains 1,000,000 jobs", "broker", "after 100,000", "after 1,000,000")
    for name, url in (("memory", MEMORY), *SERVED.items()):
        got = in_process("memory_of_a_long_drain", url, jobs=1_000_000)
        shown.add_row(name, *(f"{value:.0f} MB" for value in got.values()))
    console.print(shown)


def distance(runs: int) -> None:
    shown = table(
        "Drain over a slow network, one worker process, Redis", "added to a round trip", "PING", "task", "jobs/s"
    )
    with private_redis() as server:
        for added in (0.0, 0.002):
            with slowed(server, added) as url:
                ping = round_trip(url)
                for kind in ("coroutine", "thread"):
                    got = medians(runs, lambda u=url, k=kind: in_process("drain", u, kind=k, jobs=60_000))
                    shown.add_row(f"{added * 1e3:g} ms", f"{ping * 1e3:.2f} ms", kind, f"{got['jobs/s']:,.0f}")
    console.print(shown)


def costs(runs: int) -> None:
    shown = table("What a job costs a Redis server", "", *FIGURES, LONGEST)
    got = medians(runs, lambda: in_process("redis_costs", REDIS, jobs=60_000))
    shown.add_row("each job", *(f"{got[name]:.3g}" for name in (*FIGURES, LONGEST)))
    console.print(shown)


def by_stage(runs: int) -> None:
    shown = table("Microseconds per job by stage, batches of 128", "broker", *stages.STAGES)
    for name, url in BROKERS.items():
        got = medians(runs, lambda u=url: in_process("by_stage", u))
        shown.add_row(name, *(f"{got[stage]:.1f}" for stage in stages.STAGES))
    console.print(shown)


def schedules(runs: int) -> None:
    runs = min(runs, 3)
    shown = table(
        "From its time to the start of its job, idle system, one worker process",
        "broker",
        "beside",
        "p50",
        "p99",
        "max",
    )
    for name, url in (("memory", MEMORY), *SERVED.items()):
        for others in (0, 100_000):
            got = medians(runs, lambda u=url, n=others: in_process("lateness", u, times=150, others=n))
            shown.add_row(name, f"{others:,} schedules", *(f"{value:.2f} ms" for value in got.values()))
    console.print(shown)
    shown = table("1,000 schedules that are due at the same moment", "broker", "until the last job starts")
    for name, url in (("memory", MEMORY), *SERVED.items()):
        got = medians(runs, lambda u=url: in_process("due_at_once", u, schedules=1000))
        shown.add_row(name, f"{got['started ms']:.0f} ms")
    console.print(shown)
    shown = table(
        "200,000 delayed jobs, each with a time of its own, in any order", "broker", "due", "p50", "p99", "max"
    )
    for name, url in (("memory", MEMORY), *SERVED.items()):
        got = in_process("run_after", url, jobs=200_000, rate=2000)
        shown.add_row(name, "2,000/s", *(f"{value:.2f} ms" for value in got.values()))
    console.print(shown)


def workflows(runs: int) -> None:
    shown = table(
        "A chord of 10,000 no-op members, in turns with a plain drain, one worker process",
        "broker",
        "plain drain",
        "members of the chord",
        "share",
    )
    for name, url in (("memory", MEMORY), *SERVED.items()):
        case = "workflows:chord_beside_drain"
        got = medians(min(runs, 3), lambda u=url, c=case: in_process(c, u, members=10_000))
        shown.add_row(name, f"{got['plain/s']:,.0f}/s", f"{got['chord/s']:,.0f}/s", f"{got['share']:.0%}")
    console.print(shown)


SECTIONS = {
    "drain": drain,
    "enqueue": enqueue,
    "latency": latency,
    "idle": idle,
    "startup": startup,
    "distance": distance,
    "costs": costs,
    "stages": by_stage,
    "schedules": schedules,
    "workflows": workflows,
    "backlog": backlog,
    "memory": memory,
    "rabbitmq": rabbitmq.jobs,
    "rabbitmq-raw": rabbitmq.distance,
}
DELAYS = "rabbitmq-delays"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, DELAYS, []], help="default: all")
    parser.add_argument("--runs", type=int, default=5, help="runs of each case; the median is printed")
    parser.add_argument("--delayed", type=int, default=rabbitmq.DELAYED, help=f"messages of {DELAYS}")
    asked = parser.parse_args()
    console.print(machine(), style="dim")
    for name in asked.sections or [*SECTIONS, DELAYS]:
        if name == DELAYS:
            rabbitmq.delays(asked.delayed)
        else:
            SECTIONS[name](asked.runs)


if __name__ == "__main__":
    main()
