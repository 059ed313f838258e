"""Two workers in one process, each with a name, queues, and a limit of its own; one is stopped, the other goes on."""

import threading
import time

from heeler import ConfigurationError, Heeler, gather

app = Heeler("memory://")
busy = 0
most = 0
lock = threading.Lock()


@app.task(queue_name="reports")
def report(number: int) -> str:
    """Heavy: no more than two at a time, as the worker's limit has it."""
    global busy, most
    with lock:
        busy += 1
        most = max(most, busy)
    time.sleep(0.02)
    with lock:
        busy -= 1
    return f"report {number}"


@app.task(queue_name="mail")
def mail(to: str) -> str:
    return f"to {to}"


def main() -> None:
    with app:
        reports = app.worker(queues=["reports"], concurrency=2, name="reports")
        mails = app.worker(queues=["mail"], concurrency=50, name="mails")
        with reports, mails:
            jobs = [*report.enqueue_many((n,) for n in range(10)), *mail.enqueue_many((f"u{n}",) for n in range(10))]
            assert len(gather(jobs, timeout=10)) == 20
            print("most reports at once:", most)
            assert most == 2
            assert app.workers["mails"] is mails
            try:
                app.worker(name="mails")
            except ConfigurationError as error:
                print("a name is taken once:", error)
            else:
                raise AssertionError("two workers of one name")

            reports.stop()
            reports.wait()
            assert mail.enqueue("u11").get(timeout=10) == "to u11"


if __name__ == "__main__":
    main()
