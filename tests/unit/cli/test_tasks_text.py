import pytest

from heeler.cli.tasks import options_text
from heeler.model import Retry
from heeler.task_spec import TaskOptions


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (TaskOptions(), ""),
        (TaskOptions(priority=50, timeout=90.0), "priority 50, timeout 1 min 30 s"),
        (TaskOptions(retry=Retry(5), executor="process"), "5 attempts, process"),
        (TaskOptions(retry=Retry(None), concurrency=2), "tries for ever, 2 at a time"),
        (TaskOptions(ignore_result=True, max_crashes=0), "no result, at most once"),
    ],
)
def test_only_what_differs_from_a_plain_task_is_said(options: TaskOptions, text: str) -> None:
    assert options_text(options) == text
