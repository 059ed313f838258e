import queue

import pytest

from heeler.worker import report_throttle
from heeler.worker.remote_messages import RemoteReport
from heeler.worker.report_throttle import ReportThrottle

WAIT = 10.0


@pytest.fixture
def sent() -> queue.SimpleQueue[RemoteReport]:
    return queue.SimpleQueue()


def test_a_report_alone_is_sent_at_once(sent: queue.SimpleQueue[RemoteReport]) -> None:
    ReportThrottle(sent.put).report(0.5, "half")
    assert sent.get_nowait() == RemoteReport(0.5, "half")


def test_of_a_crowd_the_last_one_is_sent_though_nothing_follows(sent: queue.SimpleQueue[RemoteReport]) -> None:
    throttle = ReportThrottle(sent.put)
    for number in range(100):
        throttle.report(number / 100, None)
    seen = [sent.get(timeout=WAIT)]
    while seen[-1] != RemoteReport(0.99, None):
        seen.append(sent.get(timeout=WAIT))
    assert len(seen) < 20


def test_what_is_held_back_is_sent_at_the_end(
    sent: queue.SimpleQueue[RemoteReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_throttle, "GAP", 3600.0)
    throttle = ReportThrottle(sent.put)
    throttle.report(0.1, "one")
    throttle.report(0.2, None)
    throttle.report(None, "three")
    throttle.flush()
    throttle.flush()
    assert [sent.get_nowait() for _ in range(sent.qsize())] == [RemoteReport(0.1, "one"), RemoteReport(0.2, "three")]
