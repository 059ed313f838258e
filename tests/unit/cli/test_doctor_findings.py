from heeler import Heeler, Retry, __version__
from heeler.cli.doctor import judge_queues, judge_workers, look_at_app
from heeler.contracts import QueueSize
from heeler.model import WorkerPresence


def presence(queue: str = "default", version: str = __version__) -> WorkerPresence:
    return WorkerPresence(
        id="1", name="w", host="here", pid=1, queues=(queue,), tasks=(), version=version, started_at=0.0
    )


def topics(app: Heeler, level: str) -> set[str]:
    return {finding.topic for finding in look_at_app(app) if finding.level == level}


def test_an_app_without_tasks_in_memory_is_warned_of_both() -> None:
    with Heeler("memory://") as app:
        assert topics(app, "warning") == {"tasks", "broker"}


def test_what_is_risky_is_named() -> None:
    with Heeler("memory://", results="none://", lease=2) as app:
        app.task(lambda: None, name="endless", retry=Retry(None))
        assert topics(app, "warning") == {"broker", "results", "lease", "retry"}


def test_a_plain_app_on_a_file_is_well() -> None:
    with Heeler("sqlite:///never-opened.db") as app:
        app.task(lambda: None, name="plain")
        assert topics(app, "warning") == set()


def test_a_worker_of_another_version_is_told() -> None:
    assert [finding.level for finding in judge_workers([presence()])] == ["ok"]
    assert judge_workers([presence(version="0.0.9")])[1].text == f"workers run 0.0.9, this command {__version__}"


def test_a_queue_with_jobs_that_nobody_takes_is_told() -> None:
    sizes = [QueueSize(queue="images", waiting=3), QueueSize(queue="default", waiting=1), QueueSize(queue="unused")]
    (finding,) = judge_queues(sizes, [presence("default")])
    assert finding.text == "images has 3 jobs waiting and no live worker"
    assert judge_queues(sizes, None) == []


def test_paused_queues_and_dead_letters_are_told() -> None:
    sizes = [QueueSize(queue="images", waiting=1, paused=True, dead=1200)]
    assert [finding.text for finding in judge_queues(sizes, [])] == [
        "images is paused, 1 job waiting",
        "1,200: heeler dead list shows them",
    ]
