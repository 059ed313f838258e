"""Tasks as a Django project has them: Django's own `task`, with a few options of Heeler's."""

from __future__ import annotations

import asyncio
import datetime

from heeler import Retry, current_context
from heeler.integrations.django.standard import TaskContext

try:
    from django.tasks import task
except ImportError:
    from django_tasks import task

from shop.models import Order


@task
def add(a: int, b: int = 1) -> int:
    return a + b


@task(queue_name="mail", priority=10)
def ship(number: int) -> str:
    order = Order.objects.get(number=number)
    order.state = "shipped"
    order.save()
    return f"{number} shipped"


@task(takes_context=True, retry=Retry(3, delay=0.0), timeout=30)
def flaky(context: TaskContext, fails: int) -> list[object]:
    if context.attempt <= fails:
        raise ValueError(f"attempt {context.attempt}")
    return [context.attempt, context.task_result.id == current_context().id, context.task_result.args]


@task
async def count_orders() -> int:
    await asyncio.sleep(0)
    return await Order.objects.acount()


@task
def unserialisable() -> datetime.date:
    return datetime.date(2030, 1, 1)


@task(backend="at_once")
def elsewhere(word: str) -> str:
    return word.upper()
