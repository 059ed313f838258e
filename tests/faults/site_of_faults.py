"""One fault test's place: a broker, a ledger, a gate, and the worker and producer processes that work there."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import psutil
from gate import Gate
from ledger import Account, Ledger, LedgerWriter

from heeler import BrokerUnavailable, Heeler, TaskResult
from heeler.brokers.sqlite.writer_lock import WriterLock, writer_lock
from heeler.model import DeadLetter, ResultRecord
from services import wait_until

HERE = Path(__file__).parent
LEASE = 2.0


class Process:
    """A process under test with all that it starts."""

    def __init__(self, name: str, arguments: list[str], environment: dict[str, str], log: Path) -> None:
        self.name = name
        self._log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(arguments, cwd=HERE, env=environment, stdout=output, stderr=output)

    @property
    def pid(self) -> int:
        return self._popen.pid

    def tree(self) -> list[psutil.Process]:
        """The process and all its descendants, as they are now."""
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.pid)
            return [process, *process.children(recursive=True)]
        return []

    def send(self, number: signal.Signals) -> float:
        """Send a signal; when, by the machine's monotonic clock."""
        self._popen.send_signal(number)
        return time.monotonic()

    def kill(self) -> float:
        """SIGKILL, and see it dead; when it was sent."""
        sent = self.send(signal.SIGKILL)
        self._popen.wait(10)
        return sent

    def wait(self, timeout: float = 20.0) -> int:
        """Wait for its end; the exit code."""
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} has not ended within {timeout:g} s; its log:\n{self.log()}") from None

    def alive(self) -> bool:
        return self._popen.poll() is None

    def failed(self) -> bool:
        """Whether it has ended by itself, and not well."""
        return (self._popen.poll() or 0) > 0

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")


class Site:
    """Starts processes, enqueues, and draws up the account.

    `results` is where results go if the broker of `url` cannot keep them.
    """

    def __init__(
        self, folder: Path, lease: float, url: str, results: str | None = None, namespace: str = "heeler"
    ) -> None:
        self.folder = folder
        self.lease = lease
        self.url = url
        self.results = results
        self.database = Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None
        self.ledger = Ledger(folder / "ledger", self._fail_if_one_failed)
        self.gate = Gate(str(folder / "gate"))
        self.processes: list[Process] = []
        self._writer = LedgerWriter(str(self.ledger.path))
        self.app = Heeler(url, results=results, namespace=namespace, lease=lease)
        self._environment = {
            **os.environ,
            "HEELER_URL": url,
            "FAULT_NAMESPACE": namespace,
            "FAULT_LEASE": str(lease),
            "FAULT_LEDGER": str(self.ledger.path),
            "FAULT_GATE": str(folder / "gate"),
            "PYTHONUNBUFFERED": "1",
        }
        if results is not None:
            self._environment["FAULT_RESULTS"] = results

    def worker(self, *options: str, **environment: str) -> Process:
        """Start `heeler worker` with these options."""
        arguments = [sys.executable, "-m", "heeler", "worker", "--app", "fault_jobs:app", *options]
        return self._start(f"worker-{len(self.processes) + 1}", arguments, environment)

    def running_workers(self, count: int) -> list[Process]:
        """Start so many workers and wait until they take jobs."""
        workers = [self.worker() for _ in range(count)]
        self.ledger.wait_for(lambda: all(": running;" in worker.log() for worker in workers), f"{count} workers run")
        return workers

    def producer(self) -> Process:
        """Start a process that enqueues until it is killed."""
        return self._start(f"producer-{len(self.processes) + 1}", [sys.executable, "fault_producer.py"], {})

    def dying_producer(self, at: str) -> Process:
        """Start a process that dies at that step of enqueueing one job."""
        name = f"dying-producer-{len(self.processes) + 1}"
        return self._start(name, [sys.executable, "dying_producer.py"], {"FAULT_DIE_AT": at})

    def _start(self, name: str, arguments: list[str], environment: dict[str, str]) -> Process:
        process = Process(name, arguments, {**self._environment, **environment}, self.folder / f"{name}.log")
        self.processes.append(process)
        return process

    def stop(self, process: Process) -> None:
        """SIGSTOP; on SQLite at a moment when the process writes nothing.

        Whoever is stopped in the midst of a write keeps the file locked until it goes on: SQLite's nature, and the
        error that others get names the process. Other workers could do nothing then.
        """
        if self.database is None:
            process.send(signal.SIGSTOP)
            return
        lock = writer_lock(self.database.with_name(f"{self.database.name}-lock"))
        while True:
            process.send(signal.SIGSTOP)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED)
            if _is_free(lock, 0.2):
                return
            process.send(signal.SIGCONT)
            assert _is_free(lock, 10.0)

    def _fail_if_one_failed(self) -> None:
        for process in self.processes:
            if process.failed():
                raise AssertionError(f"{process.name} has failed; its log:\n{process.log()}")

    def enqueue(self, task: str, *args: object) -> TaskResult[object]:
        """Enqueue one job and note in the ledger that it was acknowledged."""
        result = self.app.enqueue_by_name(f"fault_jobs.{task}", *args)
        self._writer.write("enqueued", result.id)
        return result

    def enqueue_to(self, queue: str, task: str) -> TaskResult[object]:
        """The same, on a queue of that name."""
        result = self.app.declare(f"fault_jobs.{task}").using(queue_name=queue).enqueue()
        self._writer.write("enqueued", result.id)
        return result

    def enqueue_later(self, task: str, delay: float) -> TaskResult[object]:
        """The same, to be run after so many seconds."""
        result = self.app.declare(f"fault_jobs.{task}").using(run_after=timedelta(seconds=delay)).enqueue()
        self._writer.write("enqueued", result.id)
        return result

    def enqueue_many(self, task: str, arguments: Iterable[tuple[object, ...]]) -> list[TaskResult[object]]:
        results = self.app.declare(f"fault_jobs.{task}").enqueue_many(arguments)
        self.note_enqueued(result.id for result in results)
        return results

    def note_enqueued(self, jobs: Iterable[str]) -> None:
        """These jobs, which something else has enqueued, were acknowledged."""
        for job in jobs:
            self._writer.write("enqueued", job)

    def wait_until_accepted(self, jobs: Iterable[str], timeout: float = 20.0) -> None:
        """Wait until the ends of all these jobs have been accepted."""
        missing = set(jobs)

        def all_accepted() -> bool:
            missing.difference_update([entry.job for entry in self.ledger.of("accepted")])
            return not missing

        self.ledger.wait_for(all_accepted, "all ends accepted", timeout)

    def wait_for_more(self, count: int = 100) -> None:
        """Wait until so many more ends have been accepted."""
        self.ledger.wait_for_event("accepted", count=len(self.ledger.of("accepted")) + count)

    def time_of_one_job(self, timeout: float = 20.0) -> float:
        """How long it takes now to enqueue a job, run it, and have its end accepted."""
        begin = time.monotonic()
        [accepted] = self.ledger.wait_for_event("accepted", self.enqueue("survive").id, timeout=timeout)
        return accepted.at - begin

    def dead_letters(self, count: int) -> list[DeadLetter]:
        """All dead letters, once there are so many: a broker in ordered steps keeps them after the end is known."""
        found: list[DeadLetter] = []

        def enough() -> bool:
            found[:] = self.app.dead_letters.list(limit=count + 1)
            return len(found) >= count

        wait_until(enough, f"there are {count} dead letters")
        return found

    def record(self, job: str) -> ResultRecord:
        """All that is known of a job."""
        store = self.app.connections.needed_store()
        record = self.app.connections.io.run(store.get([job]))[0]
        assert record is not None, f"job {job} is not known"
        return record

    def account(self) -> Account:
        """The numbers so far; printed, so that a run of the tests shows them."""
        account = self.ledger.account()
        print(account)
        return account

    def close(self) -> None:
        """End everything that still runs, with all its descendants."""
        running = [member for process in self.processes for member in process.tree()]
        for member in running:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        for process in self.processes:
            process.wait()
        self.app.close()
        self.gate.close()
        self.ledger.close()
        self._writer.close()


def _is_free(lock: WriterLock, timeout: float) -> bool:
    """Whether the lock can be had within so many seconds."""
    try:
        lock.acquire(timeout)
    except BrokerUnavailable:
        return False
    lock.release()
    return True
