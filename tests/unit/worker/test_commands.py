"""Words from afar: quiet and stop."""

import threading

from heeler import Heeler
from heeler.model import Command


def send(app: Heeler, command: Command) -> None:
    app.connections.io.run(app.connections.broker.control.send(command))


def announced(app: Heeler, *, state: str) -> None:
    """Wait until a worker says of itself that it is in that state: it has a command inbox then."""
    for _ in range(1000):
        live = app.connections.io.run(app.connections.broker.control.live())
        if any(presence.state == state for presence in live):
            return
        threading.Event().wait(0.005)
    raise AssertionError(f"no worker is {state}: {live}")


def test_a_worker_stops_when_it_is_told_to_by_name(app: Heeler):
    app.connections.opened_blocking()
    with app.worker(name="one") as one, app.worker(name="two") as two:
        assert one.wait_ready(5)
        assert two.wait_ready(5)
        announced(app, state="running")
        send(app, Command(kind="stop", workers=("one",)))
        assert one.wait(10)
        assert two.state == "running"


def test_a_quiet_worker_finishes_what_it_has_and_takes_nothing_more(app: Heeler):
    started, go_on = threading.Event(), threading.Event()

    @app.task(name="work")
    def work(first: bool) -> str:
        if first:
            started.set()
            go_on.wait(10)
        return "done"

    with app.worker(name="tired") as tired:
        running = work.enqueue(True)
        assert started.wait(5)
        announced(app, state="running")
        send(app, Command(kind="quiet", workers=(tired.id,)))
        announced(app, state="quiet")
        waiting = work.enqueue(False)
        go_on.set()
        assert running.get(timeout=5) == "done"
        waiting.refresh()
        assert not waiting.is_finished
        with app.worker(name="fresh"):
            assert waiting.get(timeout=5) == "done"
        assert waiting.worker_ids[0].startswith("fresh")
