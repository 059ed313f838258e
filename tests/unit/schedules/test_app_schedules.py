"""`app.schedule` and `app.schedules`, as programs use them."""

from __future__ import annotations

import asyncio
import inspect
import logging
import queue
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from heeler import ConfigurationError, Heeler, InvalidArguments, ScheduleNotFound, TaskStatus
from heeler.schedules import Schedules
from heeler.testing import ManualClock

PATIENCE = 10.0
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def make(clock: ManualClock) -> Iterator[Callable[..., Heeler]]:
    apps: list[Heeler] = []

    def make(url: str = "memory://", **options: Any) -> Heeler:
        app = Heeler(url, **{"clock": clock, **options})
        apps.append(app)

        @app.task(name="report")
        def report(number: int, style: str = "plain") -> int:
            return number

        return app

    yield make
    for app in apps:
        app.close()


class TestAdding:
    def test_a_call_is_started_by_a_cron_expression_in_a_zone(self, make: Any) -> None:
        app = make()
        added = app.schedules.add(
            "report-42",
            app.tasks["report"].s(42, style="bold"),
            cron="0 7 * * mon-fri",
            timezone="America/New_York",
            overlap="skip",
            catch_up="all",
            catch_up_limit=5,
            start=datetime(2026, 2, 1, tzinfo=UTC),
            end=datetime(2026, 3, 1, tzinfo=BERLIN),
        )
        assert (added.name, added.expression, added.timezone) == ("report-42", "0 7 * * mon-fri", "America/New_York")
        assert added.description == "At 07:00 on Monday through Friday"
        assert added.starts == "report(42, style='bold')"
        assert (added.overlap, added.catch_up, added.catch_up_limit) == ("skip", "all", 5)
        assert added.next_run == datetime(2026, 2, 2, 7, tzinfo=ZoneInfo("America/New_York"))
        assert added.start == datetime(2026, 2, 1, tzinfo=UTC)
        assert added.end == datetime(2026, 3, 1, tzinfo=BERLIN)
        assert (added.state, added.last_run, added.last_id, added.last_outcome, added.runs) == (
            "active",
            None,
            None,
            "",
            0,
        )
        assert app.schedules.get("report-42") == added

    def test_the_defaults(self, make: Any) -> None:
        app = make()
        added = app.schedules.add("r", app.tasks["report"].s(1), cron="@daily")
        assert (added.timezone, added.catch_up, added.overlap) == ("UTC", "one", "allow")
        assert added.next_run == datetime(2026, 1, 2, tzinfo=UTC)

    @pytest.mark.parametrize("every", [timedelta(seconds=90), 90, "90s", "1m30s"])
    def test_an_interval_counts_from_when_it_was_added(self, make: Any, clock: ManualClock, every: Any) -> None:
        app = make()
        clock.advance(0.5)
        added = app.schedules.add("r", app.tasks["report"].s(1), every=every)
        assert (added.expression, added.description) == ("@every 1m30s", "Every 1 minute 30 seconds")
        assert added.next_run == datetime.fromtimestamp(clock.time() + 90, UTC)

    def test_an_interval_with_a_start_counts_from_there(self, make: Any) -> None:
        app = make()
        start = datetime(2026, 1, 1, 0, 0, 7, tzinfo=UTC)
        assert app.schedules.add("r", app.tasks["report"].s(1), every=10, start=start).next_run == start
        assert app.schedules.preview("r", 2) == [start, start + timedelta(seconds=10)]

    def test_a_task_without_arguments_stands_for_its_call(self, make: Any) -> None:
        app = make()

        @app.task(name="tidy")
        def tidy() -> None: ...

        assert app.schedules.add("t", tidy, every=1).starts == "tidy()"

    def test_adding_again_changes_it_and_keeps_its_place_in_time(self, make: Any, clock: ManualClock) -> None:
        app = make()
        first = app.schedules.add("r", app.tasks["report"].s(1), every=100)
        clock.advance(40)
        again = app.schedules.add("r", app.tasks["report"].s(2), every=100, overlap="skip")
        assert (again.starts, again.overlap, again.next_run) == ("report(2)", "skip", first.next_run)
        other = app.schedules.add("r", app.tasks["report"].s(2), every=50)
        assert other.next_run == datetime.fromtimestamp(clock.time() + 50, UTC)

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({}, "either a cron expression or an interval .* not neither"),
            ({"cron": "@daily", "every": 5}, "not both"),
            ({"cron": "61 * * * *"}, r"schedule 'r': cron expression '61 \* \* \* \*', at column 1: '61'"),
            ({"cron": "0 0 31 2 *"}, "is never due"),
            ({"every": 0}, "every must be"),
            ({"every": "soon"}, "interval 'soon', at column 1"),
            ({"cron": "@daily", "timezone": "Mars"}, "unknown time zone 'Mars'"),
            ({"cron": "@daily", "overlap": "maybe"}, "overlap is one of allow, skip, queue_one, cancel_running"),
            ({"cron": "@daily", "catch_up": "some"}, "catch_up is one of none, one, all"),
            ({"cron": "@daily", "catch_up_limit": 0}, "catch_up_limit"),
            ({"cron": "@daily", "start": datetime(2026, 1, 1)}, "start is a datetime with a time zone"),
            (
                {"cron": "@daily", "start": datetime(2026, 1, 2, tzinfo=UTC), "end": datetime(2026, 1, 1, tzinfo=UTC)},
                "its end .* is before its start",
            ),
        ],
    )
    def test_a_wrong_option_is_an_error_and_nothing_is_stored(self, make: Any, options: Any, said: str) -> None:
        app = make()
        with pytest.raises(ConfigurationError, match=said):
            app.schedules.add("r", app.tasks["report"].s(1), **options)
        assert app.schedules.list() == []

    def test_wrong_arguments_are_an_error_at_once(self, make: Any) -> None:
        app = make()
        with pytest.raises(InvalidArguments):
            app.schedules.add("r", app.tasks["report"].s("many"), every=5)
        with pytest.raises(InvalidArguments):
            app.schedules.add("r", app.tasks["report"], every=5)

    def test_what_cannot_be_started_is_an_error(self, make: Any) -> None:
        app = make()
        with pytest.raises(ConfigurationError, match=r"give a signature such as task.s\(1, 2\), .* got function"):
            app.schedules.add("r", lambda: None, every=5)
        with pytest.raises(ConfigurationError, match="cannot have the one id 'x'"):
            app.schedules.add("r", app.tasks["report"].using(id="x").s(1), every=5)
        with pytest.raises(ConfigurationError, match="a schedule's name"):
            app.schedules.add("", app.tasks["report"].s(1), every=5)


class TestLookingAndSteering:
    def test_pages_are_by_name(self, make: Any) -> None:
        app = make()
        for name in "cab":
            app.schedules.add(name, app.tasks["report"].s(1), every=5)
        assert [one.name for one in app.schedules.list(limit=2)] == ["a", "b"]
        assert [one.name for one in app.schedules.list(after="b")] == ["c"]

    def test_pausing_and_resuming(self, make: Any, clock: ManualClock) -> None:
        app = make()
        app.schedules.add("r", app.tasks["report"].s(1), every=10)
        paused = app.schedules.pause("r")
        assert (paused.state, paused.next_run) == ("paused", None)
        clock.advance(25)
        resumed = app.schedules.resume("r")
        assert (resumed.state, resumed.next_run) == ("active", datetime.fromtimestamp(clock.time() + 5, UTC))
        assert app.schedules.resume("r") == resumed

    def test_removing(self, make: Any) -> None:
        app = make()
        app.schedules.add("r", app.tasks["report"].s(1), every=10)
        assert app.schedules.remove("r") is True
        assert app.schedules.remove("r") is False
        assert app.schedules.get("r") is None

    def test_who_is_not_there_is_an_error(self, make: Any) -> None:
        schedules = make().schedules
        for verb in (schedules.pause, schedules.resume, schedules.trigger, schedules.preview):
            with pytest.raises(ScheduleNotFound, match="there is no schedule 'nobody'"):
                verb("nobody")

    def test_triggering_starts_its_job_now(self, make: Any) -> None:
        app = make()
        app.schedules.add("r", app.tasks["report"].using(priority=3).s(42), cron="@daily", overlap="skip")
        before = app.schedules.pause("r")
        result = app.schedules.trigger("r")
        assert (result.name, result.args, result.priority, result.status) == ("report", (42,), 3, TaskStatus.READY)
        assert result.headers == {"heeler-schedule": "r"}
        after = app.schedules.get("r")
        assert after is not None
        assert (after.paused, after.next_run) == (True, before.next_run)
        assert (after.last_id, after.last_outcome, after.runs) == (result.id, "READY", 1)
        with app.worker(scheduler=False):
            assert result.get(timeout=PATIENCE) == 42
        assert app.schedules.trigger("r").id != result.id

    def test_a_preview_of_a_schedule_is_in_its_zone(self, make: Any) -> None:
        app = make()
        app.schedules.add("r", app.tasks["report"].s(1), cron="0 7 * * mon-fri", timezone="Europe/Berlin")
        times = app.schedules.preview("r")
        assert times[0] == datetime(2026, 1, 1, 7, tzinfo=BERLIN)
        assert times[0].utcoffset() == timedelta(hours=1)
        assert [time.day for time in times] == [1, 2, 5, 6, 7]

    def test_a_preview_of_an_expression_needs_no_schedule(self, make: Any) -> None:
        app = make()
        assert app.schedules.preview("0 7 * * mon-fri", 1, timezone="Europe/Berlin") == [
            datetime(2026, 1, 1, 7, tzinfo=BERLIN)
        ]
        assert app.schedules.preview("@every 1h", 2)[1] == datetime(2026, 1, 1, 2, tzinfo=UTC)
        with pytest.raises(ConfigurationError, match="at column 3: '25'"):
            app.schedules.preview("0 25 * * *", 5)

    async def test_every_method_has_an_async_twin(self, make: Any) -> None:
        app = make()
        schedules = app.schedules
        assert (await schedules.aadd("r", app.tasks["report"].s(1), every=10)).name == "r"
        assert (await schedules.aget("r")).name == "r"
        assert [one.name for one in await schedules.alist()] == ["r"]
        assert (await schedules.apause("r")).paused
        assert not (await schedules.aresume("r")).paused
        assert (await schedules.atrigger("r")).name == "report"
        assert len(await schedules.apreview("r", 3)) == 3
        assert await schedules.adrift() == []
        assert await schedules.aremove("r")
        public = {name for name, _ in inspect.getmembers(Schedules, inspect.isfunction) if not name.startswith("_")}
        alone = {name for name in public if f"a{name}" not in public and name[1:] not in public}
        assert alone == {"declare", "impossible"}, "these ask no broker"


class TestDeclaring:
    def test_the_decorator_stands_above_a_task_and_gives_it_back(self, make: Any) -> None:
        app = make()

        @app.schedule("*/5 * * * *", timezone="Europe/Berlin", overlap="skip")
        @app.task(name="sync")
        def sync() -> int:
            return 7

        assert sync() == 7
        known = app.schedules.get(sync.name)
        assert known is not None
        assert (known.expression, known.timezone, known.overlap) == ("*/5 * * * *", "Europe/Berlin", "skip")
        assert known.declared_by == __name__
        assert [one.name for one in app.schedules.list()] == [sync.name]

    def test_arguments_and_a_name_may_be_given(self, make: Any) -> None:
        app = make()
        report = app.tasks["report"]
        app.schedule(every=5, name="small", args=[1])(report)
        app.schedule(every=10, name="large", args=[100], kwargs={"style": "bold"})(report)
        assert [(one.name, one.starts) for one in app.schedules.list()] == [
            ("large", "report(100, style='bold')"),
            ("small", "report(1)"),
        ]

    @pytest.mark.parametrize(
        ("expression", "options", "said"),
        [
            ("* * *", {}, "schedule 'tidy': cron expression '. . .' has 3 fields"),
            ("0 0 30 2 *", {}, "is never due"),
            ("@daily", {"timezone": "Nowhere"}, "unknown time zone"),
            (None, {}, "either a cron expression or an interval"),
        ],
    )
    def test_a_wrong_declaration_is_an_error_where_it_stands(
        self, make: Any, expression: Any, options: Any, said: str
    ) -> None:
        app = make()
        with pytest.raises(ConfigurationError, match=said):

            @app.schedule(expression, **options)
            @app.task(name="tidy")
            def tidy() -> None: ...

    def test_a_task_that_needs_arguments_is_an_error_without_them(self, make: Any) -> None:
        app = make()
        with pytest.raises(InvalidArguments):
            app.schedule("@daily")(app.tasks["report"])

    def test_what_is_no_task_is_an_error_that_says_where_it_belongs(self, make: Any) -> None:
        with pytest.raises(ConfigurationError, match=r"write it above @app\.task"):
            make().schedule("@daily")(lambda: None)

    def test_two_on_one_task_need_names(self, make: Any) -> None:
        app = make()

        @app.task(name="tidy")
        def tidy() -> None: ...

        app.schedule("@daily")(tidy)
        with pytest.raises(ConfigurationError, match=r"'tidy' is taken by tidy\(\) \(@daily\)"):
            app.schedule("@hourly")(tidy)
        app.schedule("@hourly", name="tidy hourly")(tidy)

    def test_one_that_is_not_stored_yet_can_be_steered(self, make: Any) -> None:
        app = make()
        app.schedule("@daily", args=[1])(app.tasks["report"])
        assert app.schedules.preview("report", 1) == [datetime(2026, 1, 2, tzinfo=UTC)]
        assert [drift.kind for drift in app.schedules.drift()] == ["new"]
        assert app.schedules.trigger("report").name == "report"
        assert app.schedules.pause("report").paused
        assert app.schedules.drift() == []

    def test_a_worker_stores_what_the_code_declares_and_tells_where_it_differed(
        self, make: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        before, after = make("memory://declaring"), make("memory://declaring")
        before.schedule("@daily", name="stays", args=[1])(before.tasks["report"])
        before.schedule("@daily", name="changes", args=[1])(before.tasks["report"])
        before.schedule("@daily", name="leaves", args=[1])(before.tasks["report"])
        after.schedule("@daily", name="stays", args=[1])(after.tasks["report"])
        after.schedule("@hourly", name="changes", args=[1])(after.tasks["report"])
        with before.worker() as worker:
            assert worker.wait_ready(PATIENCE)
            assert [one.state for one in after.schedules.list()] == ["active"] * 3
            assert {(drift.name, drift.kind) for drift in after.schedules.drift()} == {
                ("changes", "changed"),
                ("leaves", "left"),
            }
        with caplog.at_level(logging.WARNING), after.worker() as worker:
            assert worker.wait_ready(PATIENCE)
        told = [record.getMessage() for record in caplog.records]
        assert told == [
            "schedule changes: the code declares it otherwise: expression is '@daily' in the store, '@hourly' in the "
            "code; now as in the code",
            "schedule leaves: the code does not declare it any more; disabled",
        ]
        assert {one.name: one.state for one in after.schedules.list()} == {
            "changes": "active",
            "leaves": "disabled",
            "stays": "active",
        }


class TestRunning:
    @pytest.fixture(params=["memory", "sqlite"])
    def url(self, request: pytest.FixtureRequest, tmp_path: Any) -> str:
        return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/jobs.db"

    def test_every_worker_starts_what_is_due(self, url: str) -> None:
        ran: queue.SimpleQueue[str] = queue.SimpleQueue()
        with Heeler(url) as app:

            @app.schedule(every=0.2)
            @app.task(name="tick", takes_context=True)
            def tick(context: Any) -> None:
                ran.put(context.id)

            with app.worker(), app.worker():
                ids = [ran.get(timeout=PATIENCE) for _ in range(5)]
            assert len(set(ids)) == 5
            assert all(id.startswith("tick@") for id in ids)

    def test_a_worker_can_do_without(self, make: Any, clock: ManualClock) -> None:
        app = make()
        app.schedule(every=1, args=[1])(app.tasks["report"])
        with app.worker(scheduler=False) as worker:
            assert worker.wait_ready(PATIENCE)
            assert [drift.kind for drift in app.schedules.drift()] == ["new"]

    def test_a_scheduler_works_alone(self, make: Any, clock: ManualClock) -> None:
        app = make()
        app.schedule(every=1, args=[1])(app.tasks["report"])
        scheduler = app.scheduler()
        with scheduler:
            assert scheduler.wait_ready(PATIENCE)
            assert app.schedules.drift() == []
        assert scheduler.wait(PATIENCE)
        with pytest.raises(Exception, match="has been started before"):
            scheduler.start()

    async def test_a_scheduler_works_in_a_loop_until_it_is_cancelled(self, make: Any) -> None:
        app = make()
        working = asyncio.create_task(app.scheduler().arun())
        done, _ = await asyncio.wait([working], timeout=0.05)
        assert not done
        working.cancel()
        await asyncio.wait([working])
        assert working.cancelled()
