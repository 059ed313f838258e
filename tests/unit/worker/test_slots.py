"""How much work fits: the arithmetic of slots and read-ahead, without threads or time."""

from heeler.model import Delivery, Envelope, Receipt
from heeler.worker.run import Run
from heeler.worker.slots import Lane, Slots


def runs(count: int, at: float = 0.0, size: int = 10) -> list[Run]:
    return [
        Run(
            Delivery(
                envelope=Envelope(id=str(n), task="t", queue="q", body=b"x" * size, content_type=""),
                receipt=Receipt(str(n), 1),
                leased_at=0.0,
            ),
            at,
        )
        for n in range(count)
    ]


def end_all(slots: Slots) -> None:
    """As the task loop takes them, and the I/O thread hears of their end."""
    slots.ended += len(slots.line)
    slots.line.clear()


def test_at_first_only_the_slots_are_filled():
    slots = Slots(20)
    assert slots.room() == 20
    slots.took(runs(20), 20, 0.0)
    assert slots.room() == 0


def test_read_ahead_grows_to_fifty_milliseconds_of_measured_work():
    slots = Slots(20)
    now = 0.0
    for _ in range(100):
        asked = slots.room()
        slots.took(runs(asked), asked, now)
        now += 0.01
        for _ in range(min(100, len(slots.line))):  # 10,000 jobs per second
            slots.line.popleft()
            slots.ended += 1
    assert 400 <= slots.read_ahead <= 500


def test_slow_jobs_are_not_read_ahead():
    slots = Slots(4)
    now = 0.0
    for _ in range(10):
        slots.took(runs(4), 4, now)
        end_all(slots)
        now += 1.0
    assert slots.read_ahead == 0


def test_what_waited_too_long_is_taken_out_and_read_ahead_shrinks_to_nothing():
    slots = Slots(2)
    slots.took(runs(5, at=10.0), 5, 10.0)
    slots.read_ahead = 3
    assert list(slots.stale(10.2)) == []
    assert len(list(slots.stale(10.26))) == 5
    assert (slots.read_ahead, slots.in_hand) == (0, 0)


def test_a_lane_is_given_back_with_its_delay():
    slots = Slots(2)
    lane = Lane(0.5)
    slots.lanes.append(lane)
    slots.took(runs(2, at=1.0), 2, 1.0)
    lane.append(slots.line.popleft())
    slots.line.popleft()
    assert [delay for _, delay in slots.stale(2.0)] == [0.5]
    assert slots.in_hand == 1


def test_what_is_parked_for_its_own_limit_keeps_no_slot_from_others():
    slots = Slots(10)
    lane = Lane(0.5)
    slots.lanes.append(lane)
    slots.took(runs(10), 10, 0.0)
    for _ in range(8):
        lane.append(slots.line.popleft())
    assert slots.room() == 8


def test_large_bodies_are_read_ahead_up_to_sixteen_mebibytes():
    slots = Slots(1)
    slots.took(runs(8, size=1 << 20), 8, 0.0)
    assert slots.room_bytes() == 8 << 20
    slots.took(runs(20, size=1 << 20), 8, 0.0)
    assert slots.room_bytes() == 1


def test_idle_time_says_nothing_about_the_speed_of_jobs():
    slots = Slots(2)
    slots.took(runs(2), 2, 0.0)
    end_all(slots)
    slots.took(runs(2), 2, 0.02)
    end_all(slots)
    slots.rest()
    slots.took(runs(2), 2, 1000.0)
    end_all(slots)
    slots.took(runs(2), 2, 1000.02)
    assert slots.read_ahead == 5  # as fast as before: 100 per second
