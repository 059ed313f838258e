import random

from heeler.brokers.memory.job import Job, Phase
from heeler.brokers.memory.queue import MemoryQueue
from heeler.model import Envelope

NOTHING: frozenset[str] = frozenset()


def job(sequence: int, *, priority: int = 0, task: str = "x") -> Job:
    envelope = Envelope(id=f"{sequence}", task=task, queue="q", body=b"", content_type="m", priority=priority)
    return Job(envelope=envelope, number=sequence, sequence=sequence, epoch=0, since=float(sequence))


def taken(queue: MemoryQueue, most: int = 1000, skip: frozenset[str] = NOTHING) -> list[int]:
    numbers = []
    for _, found in zip(range(most), queue.take(skip), strict=False):
        found.phase = Phase.LEASED
        numbers.append(found.sequence)
    return numbers


def test_the_order_is_priority_then_sequence_whatever_way_jobs_came_and_went() -> None:
    chance = random.Random(7)
    queue = MemoryQueue("q")
    jobs = [job(number, priority=chance.choice([-1, 0, 5]), task=chance.choice("xyz")) for number in range(500)]
    for each in jobs:
        if each.sequence % 5:
            queue.append(each)
        else:
            each.phase = Phase.SCHEDULED
    for each in chance.sample(jobs, 500):
        if each.phase is Phase.SCHEDULED:
            each.phase = Phase.WAITING
            queue.put_back(each)
    gone = chance.sample(jobs, 100)
    for each in gone:
        each.phase = Phase.OVER
        queue.discard(each, scheduled=False)
    left = sorted(
        (each for each in jobs if each not in gone), key=lambda each: (-each.envelope.priority, each.sequence)
    )
    assert queue.waiting() == len(left)
    assert [each.sequence for each in queue.waiting_jobs()] == [each.sequence for each in left]
    assert taken(queue, 150) + taken(queue) == [each.sequence for each in left]
    assert queue.waiting() == 0
    assert not queue.has_work()


def test_a_job_that_left_its_place_and_came_back_is_taken_once() -> None:
    queue = MemoryQueue("q")
    wanderer = job(1)
    for _ in range(3):
        queue.put_back(wanderer)
        wanderer.phase = Phase.LEASED
        queue.discard(wanderer, scheduled=False)
        wanderer.phase = Phase.WAITING
    queue.put_back(wanderer)
    assert queue.waiting() == 1
    assert taken(queue) == [1]
    assert queue.waiting() == 0


def test_a_job_that_left_its_old_place_for_the_end_is_taken_once() -> None:
    queue = MemoryQueue("q")
    late = job(1)
    queue.put_back(late)
    late.phase = Phase.LEASED
    queue.discard(late, scheduled=False)
    late.phase, late.sequence = Phase.WAITING, 3
    queue.append(job(2))
    queue.append(late)
    assert queue.waiting() == 2
    assert [each.sequence for each in queue.waiting_jobs()] == [2, 3]
    assert taken(queue) == [2, 3]


def test_skipped_tasks_are_no_work() -> None:
    queue = MemoryQueue("q")
    queue.append(job(1, task="x"))
    assert not queue.has_work(frozenset({"x"}))
    assert taken(queue, skip=frozenset({"x"})) == []
    queue.append(job(2, task="y"))
    assert queue.has_work(frozenset({"x"}))
    assert taken(queue, skip=frozenset({"x"})) == [2]
    assert taken(queue) == [1]


def test_cancelled_jobs_leave_no_memory_behind_although_nobody_fetches() -> None:
    queue = MemoryQueue("q")
    for number in range(5000):
        waiting, scheduled = job(number), job(number)
        queue.append(waiting)
        scheduled.phase = Phase.SCHEDULED
        queue.timetable.add(scheduled, 100.0 + number)
        waiting.phase = scheduled.phase = Phase.OVER
        queue.discard(waiting, scheduled=False)
        queue.discard(scheduled, scheduled=True)
    [line] = queue._levels[0].values()
    assert len(line._fresh) < 200
    assert len(queue.timetable._heap) < 200
    assert (queue.waiting(), len(queue.timetable)) == (0, 0)


def test_the_oldest_is_the_one_that_waits_longest() -> None:
    queue = MemoryQueue("q")
    assert queue.oldest() is None
    queue.append(job(7, priority=5))
    queue.append(job(9))
    queue.put_back(job(3))
    assert queue.oldest() == 3.0
