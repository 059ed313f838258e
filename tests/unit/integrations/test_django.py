"""Django's tasks on Heeler: a real project on SQLite, driven by manage.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("django")
SITE = Path(__file__).with_name("django_site")
PATIENCE = 60


@dataclass
class Project:
    """The project with databases of its own."""

    data: Path

    @property
    def environment(self) -> dict[str, str]:
        known = {name: value for name, value in os.environ.items() if not name.startswith(("HEELER_", "DJANGO_"))}
        return known | {"SITE_DATA": str(self.data), "DJANGO_SETTINGS_MODULE": "site_settings"}

    def manage(self, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=SITE,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr if code else done.stdout

    def run(self, code: str) -> Any:
        """Run code inside the project; what its last line gives to `answer`."""
        script = "import json, django; django.setup()\nfrom shop.tasks import *\nfrom shop.models import Order\n"
        script += "def answer(value): print(json.dumps(value, default=str))\n" + textwrap.dedent(code)
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=SITE,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else None

    def work(self, *arguments: str) -> None:
        """Run what waits."""
        self.manage("heeler", *arguments, "worker", "--burst")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    project = Project(tmp_path)
    project.manage("migrate", "--verbosity", "0")
    return project


def test_a_task_of_djangos_goes_from_enqueue_by_worker_to_its_result(project: Project) -> None:
    id = project.run("""
        result = add.enqueue(1, b=2)
        assert (result.status, result.is_finished, result.args, result.kwargs) == ("READY", False, [1], {"b": 2})
        assert result.enqueued_at is not None and result.backend == "default"
        assert add.get_result(result.id).status == "READY"
        answer(result.id)
    """)
    project.work()
    assert project.run(f"""
        result = add.get_result({id!r})
        assert result.task.func is add.func and result.is_finished
        assert result.enqueued_at <= result.started_at <= result.finished_at
        answer([result.status, result.return_value, result.attempts, result.errors])
    """) == ["SUCCESSFUL", 3, 1, []]


def test_a_job_is_sent_when_its_transaction_is_committed_and_not_when_it_is_rolled_back(project: Project) -> None:
    committed, rolled_back, at_once = project.run("""
        from django.db import transaction
        from heeler.integrations.django.backend import app_of
        jobs = app_of("default").jobs
        with transaction.atomic():
            Order.objects.create(number=7)
            committed = ship.enqueue(7)
            assert committed.enqueued_at is None and jobs() == []
        assert committed.enqueued_at is not None and [job.id for job in jobs()] == [committed.id]
        try:
            with transaction.atomic():
                rolled_back = ship.enqueue(8)
                raise LookupError
        except LookupError:
            pass
        with transaction.atomic():
            at_once = elsewhere.enqueue("now")
            assert at_once.enqueued_at is not None
        answer([committed.id, rolled_back.id, at_once.id])
    """)
    project.work()
    project.work("--backend", "at_once")
    assert project.run(f"""
        from heeler.integrations.django.standard import TaskResultDoesNotExist
        try:
            ship.get_result({rolled_back!r})
        except TaskResultDoesNotExist as error:
            assert "no job" in str(error)
        answer([
            ship.get_result({committed!r}).return_value, Order.objects.get().state,
            elsewhere.get_result({at_once!r}).return_value,
        ])
    """) == ["7 shipped", "shipped", "NOW"]


def test_retries_context_errors_and_options_of_heelers(project: Project) -> None:
    again, failed, odd = project.run("""
        answer([flaky.enqueue(2).id, flaky.enqueue(5).id, unserialisable.enqueue().id])
    """)
    project.work()
    assert project.run(f"""
        result = flaky.get_result({again!r})
        answer([result.status, result.return_value, result.attempts, len(result.errors)])
    """) == ["SUCCESSFUL", [3, True, [2]], 3, 2]
    assert project.run(f"""
        result = flaky.get_result({failed!r})
        assert result.errors[0].exception_class is ValueError and "attempt 1" in result.errors[0].traceback
        try:
            result.return_value
        except ValueError as error:
            answer([result.status, result.attempts, len(result.errors), str(error)])
    """) == ["FAILED", 3, 3, "Task failed"]
    assert project.run(f"""
        result = unserialisable.get_result({odd!r})
        answer([result.status, result.errors[0].exception_class.__name__])
    """) == ["FAILED", "TypeError"]


def test_coroutines_priorities_and_later_times(project: Project) -> None:
    assert project.run("""
        import asyncio, datetime
        from django.utils import timezone
        from heeler.integrations.django.backend import app_of
        later = timezone.now() + datetime.timedelta(hours=1)
        async def main():
            counted = await count_orders.using(priority=-5).aenqueue()
            await add.using(run_after=later, queue_name="mail").aenqueue(1)
            return counted.id
        id = asyncio.run(main())
        scheduled = app_of("default").jobs(scheduled=True)
        assert [(job.queue_name, job.run_after) for job in scheduled] == [("mail", later)]
        with app_of("default").worker(burst=True) as worker:
            worker.wait(30)
        result = count_orders.get_result(id)
        answer([result.return_value, result.task.priority, add.get_result(scheduled[0].id).task.run_after == later])
    """) == [0, -5, True]


def test_a_task_may_be_sent_to_another_backend_than_its_own(project: Project) -> None:
    id = project.run("answer(add.using(backend='at_once', queue_name='odd').enqueue(2, b=3).id)")
    project.manage("heeler", "--backend", "at_once", "worker", "--burst", "--queues", "odd")
    assert project.run(f"""
        result = add.using(backend="at_once").get_result({id!r})
        answer([result.status, result.return_value, result.backend])
    """) == ["SUCCESSFUL", 5, "at_once"]


def test_every_run_of_a_coroutine_has_database_connections_of_its_own_and_closes_them(project: Project) -> None:
    assert project.run("""
        from django.db.backends.signals import connection_created
        from heeler.integrations.django.backend import app_of
        made = []
        connection_created.connect(lambda sender, connection, **kwargs: made.append(connection), weak=False)
        results = [count_orders.enqueue() for _ in range(3)]
        with app_of("default").worker(burst=True) as worker:
            worker.wait(30)
        for result in results:
            result.refresh()
        answer([[result.return_value for result in results], len(made), [one.connection for one in made]])
    """) == [[0, 0, 0], 3, [None, None, None]]


def test_times_are_naive_where_the_settings_say_so(project: Project) -> None:
    assert project.run("""
        import datetime
        from django.conf import settings
        from heeler.integrations.django.backend import app_of
        settings.USE_TZ = False
        before = datetime.datetime.now()
        later = before + datetime.timedelta(hours=1)
        ended, waiting = add.enqueue(1), add.using(run_after=later).enqueue(2)
        with app_of("default").worker(burst=True) as worker:
            worker.wait(30)
        assert add.get_result(waiting.id).task.run_after == later
        read = add.get_result(ended.id)
        assert read.enqueued_at.tzinfo is None
        assert abs(read.enqueued_at - ended.enqueued_at) < datetime.timedelta(seconds=5)
        answer(read.enqueued_at <= read.started_at <= read.finished_at)
    """)


def test_with_an_eager_url_the_tests_of_a_project_need_no_worker(project: Project) -> None:
    assert project.run("""
        from django.test import override_settings
        backend = {"BACKEND": "heeler.integrations.django.HeelerBackend", "QUEUES": [], "OPTIONS": {"url": "eager://"}}
        with override_settings(TASKS={"default": backend}):
            result = add.enqueue(1, b=5)
            result.refresh()
            answer([result.status, result.return_value])
    """) == ["SUCCESSFUL", 6]


def test_signals_are_sent_where_things_happen(project: Project) -> None:
    assert project.run("""
        import sys
        from heeler.integrations.django import standard
        from heeler.integrations.django.backend import app_of
        seen = []
        def note(kind):
            def receiver(sender, task_result, **kwargs):
                Order.objects.count()
                error = sys.exc_info()[1]
                said = [str(task_result.status), task_result.attempts, str(error or "")]
                seen.append([kind, task_result.task.name, *said])
            return receiver
        receivers = {kind: note(kind) for kind in ("task_enqueued", "task_started", "task_finished")}
        for kind, receiver in receivers.items():
            getattr(standard, kind).connect(receiver)
        for job in (add, flaky, count_orders):
            job.enqueue(*{"add": [1], "flaky": [9], "count_orders": []}[job.name])
            with app_of("default").worker(burst=True) as worker:
                worker.wait(30)
        answer(seen)
    """) == [
        ["task_enqueued", "add", "READY", 0, ""],
        ["task_started", "add", "RUNNING", 1, ""],
        ["task_finished", "add", "SUCCESSFUL", 1, ""],
        ["task_enqueued", "flaky", "READY", 0, ""],
        ["task_started", "flaky", "RUNNING", 1, ""],
        ["task_started", "flaky", "RUNNING", 2, ""],
        ["task_started", "flaky", "RUNNING", 3, ""],
        ["task_finished", "flaky", "FAILED", 3, "attempt 3"],
        ["task_enqueued", "count_orders", "READY", 0, ""],
        ["task_started", "count_orders", "RUNNING", 1, ""],
        ["task_finished", "count_orders", "SUCCESSFUL", 1, ""],
    ]


def test_what_django_refuses_of_a_task_is_refused(project: Project) -> None:
    assert project.run("""
        import datetime
        told = []
        for wrong in (
            lambda: add.using(priority=500), lambda: add.using(queue_name="unknown"),
            lambda: add.using(run_after=datetime.datetime(2030, 1, 1)), lambda: add.enqueue(object()),
        ):
            try:
                wrong()
            except Exception as error:
                told.append(type(error).__name__.removesuffix("Error"))
        answer(told)
    """) == ["InvalidTask", "InvalidTask", "InvalidTask", "Type"]


def test_every_command_of_heelers_is_a_command_of_manage_py(project: Project) -> None:
    project.run("add.enqueue(1); add.enqueue(2)")
    listed = project.manage("heeler", "jobs", "list", "--json")
    assert [json.loads(line)["name"] for line in listed.splitlines()] == ["shop.tasks.add"] * 2
    assert "shop.tasks.flaky" in project.manage("heeler", "tasks")
    assert "manage.py heeler worker" in project.manage("heeler", "--help")
    assert "--processes" in project.manage("heeler", "worker", "--help")
    assert "there is no dead letter" in project.manage("heeler", "dead", "show", "nobody", code=1)
    assert "TASKS has no backend 'nowhere'" in project.manage("heeler", "--backend", "nowhere", "tasks", code=1)
    project.manage("heeler", "worker", "--burst", "--processes", "2", "--queues", "default,mail")
    assert project.run("""
        from heeler.integrations.django.app import default
        answer([job.status for job in default.jobs()])
    """) == ["SUCCESSFUL", "SUCCESSFUL"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("{'ulr': 'sqlite:///x.db'}", "TASKS['default']: OPTIONS has no 'ulr'; did you mean 'url'?"),
        ("{'url': 'mysql://x'}", "TASKS['default']: unknown broker scheme 'mysql'"),
    ],
)
def test_a_wrong_setting_says_where_and_what_would_be_right(project: Project, options: str, told: str) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import site_settings, django\n"
            f"site_settings.TASKS['default']['OPTIONS'] = {options}\n"
            "from django.core.management import call_command\ndjango.setup()\ncall_command('check')",
        ],
        cwd=SITE,
        env=project.environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode != 0
    assert told in done.stderr


def test_check_warns_of_a_broker_that_no_worker_shares(project: Project) -> None:
    assert project.manage("check").strip().startswith("System check identified no issues")
    assert project.run("""
        from heeler.integrations.django import HeelerBackend
        backend = HeelerBackend("default", {"OPTIONS": {"url": "memory://"}})
        answer([warning.id for warning in backend.check()])
    """) == ["heeler.W001"]
