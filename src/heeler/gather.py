"""Waiting for many jobs at once: all of them in order, or each as it ends."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, TypeVar, overload

from heeler.errors import HeelerError, ResultNotFound, ResultTimeout
from heeler.model import Notice, ResultRecord
from heeler.task_result import TaskResult, join_all

__all__ = ["aas_completed", "agather", "as_completed", "gather"]

R = TypeVar("R")


def _by_app(results: Iterable[TaskResult[Any]]) -> list[list[TaskResult[Any]]]:
    groups: dict[int, list[TaskResult[Any]]] = {}
    for result in results:
        groups.setdefault(id(result._source), []).append(result)
    return list(groups.values())


@overload
def gather(
    results: Iterable[TaskResult[R]], timeout: float | None = None, return_exceptions: Literal[False] = False
) -> list[R]: ...
@overload
def gather(
    results: Iterable[TaskResult[R]], timeout: float | None = None, *, return_exceptions: bool
) -> list[R | BaseException]: ...
def gather(
    results: Iterable[TaskResult[Any]], timeout: float | None = None, return_exceptions: bool = False
) -> list[Any]:
    """Wait for all jobs and return their values in order.

    `timeout` in seconds is for all together. With `return_exceptions` the errors stand in place of values, else
    the first failed one, in order, is raised, as `get` would.
    """
    handles = list(results)
    deadline = None if timeout is None else _now(handles) + timeout
    errors: list[HeelerError] = []
    for group in _by_app(handles):
        left = None if deadline is None else max(0.0, deadline - _now(group))
        try:
            group[0]._source.connections.io.run(join_all(group, left))
        except HeelerError as error:
            if not return_exceptions:
                raise
            errors.append(error)
    return [_outcome_of(result, errors) if return_exceptions else result._outcome() for result in handles]


async def agather(
    results: Iterable[TaskResult[Any]], timeout: float | None = None, return_exceptions: bool = False
) -> list[Any]:
    """`gather` from async code."""
    handles = list(results)
    deadline = None if timeout is None else _now(handles) + timeout
    errors: list[HeelerError] = []
    for group in _by_app(handles):
        left = None if deadline is None else max(0.0, deadline - _now(group))
        try:
            await group[0]._source.connections.io.arun(join_all(group, left))
        except HeelerError as error:
            if not return_exceptions:
                raise
            errors.append(error)
    return [_outcome_of(result, errors) if return_exceptions else result._outcome() for result in handles]


def _now(handles: Sequence[TaskResult[Any]]) -> float:
    return handles[0]._source.clock.monotonic() if handles else 0.0


def _outcome_of(result: TaskResult[Any], errors: list[HeelerError]) -> Any:
    """Its value or its error; for one that has not ended, why the wait ended."""
    if not result.is_finished:
        lost = [error for error in errors if isinstance(error, ResultNotFound) and result.id in str(error)]
        return lost[0] if lost else ResultTimeout(f"{result.name} ({result.id}) has not ended in time; it goes on")
    try:
        return result._outcome()
    except HeelerError as error:
        return error


def as_completed(results: Iterable[TaskResult[R]], timeout: float | None = None) -> Iterator[TaskResult[R]]:
    """Each handle as its job ends, first come first. Raises ResultTimeout when `timeout` seconds are over."""
    handles = list(results)
    ended: queue.SimpleQueue[TaskResult[R] | BaseException] = queue.SimpleQueue()
    pumps = [group[0]._source.connections.io.submit(_each_ended(group, ended.put)) for group in _by_app(handles)]
    deadline = None if timeout is None else _now(handles) + timeout
    try:
        for _ in handles:
            left = None if deadline is None else max(0.0, deadline - _now(handles))
            try:
                item = ended.get(timeout=left)
            except queue.Empty:
                raise ResultTimeout(f"not all of {len(handles)} jobs have ended within {timeout:g} s") from None
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        for pump in pumps:
            pump.cancel()


async def aas_completed(results: Iterable[TaskResult[R]], timeout: float | None = None) -> AsyncIterator[TaskResult[R]]:
    """`as_completed` from async code."""
    handles = list(results)
    loop = asyncio.get_running_loop()
    ended: asyncio.Queue[TaskResult[R] | BaseException] = asyncio.Queue()

    def hand_over(item: TaskResult[R] | BaseException) -> None:
        loop.call_soon_threadsafe(ended.put_nowait, item)

    pumps = [group[0]._source.connections.io.submit(_each_ended(group, hand_over)) for group in _by_app(handles)]
    deadline = None if timeout is None else _now(handles) + timeout
    try:
        for _ in handles:
            left = None if deadline is None else max(0.0, deadline - _now(handles))
            try:
                item = await asyncio.wait_for(ended.get(), left)
            except TimeoutError:
                raise ResultTimeout(f"not all of {len(handles)} jobs have ended within {timeout:g} s") from None
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        for pump in pumps:
            pump.cancel()


async def _each_ended(group: Sequence[TaskResult[R]], put: Callable[[TaskResult[R] | BaseException], None]) -> None:
    """On the I/O thread: put each handle when its job has ended, with one registration for the whole group."""
    source = group[0]._source
    waiting: dict[str, list[TaskResult[R]]] = {}
    for result in group:
        if result.is_finished:
            put(result)
        else:
            waiting.setdefault(result.id, []).append(result)
    all_ended = asyncio.get_running_loop().create_future()

    def take(id: str, record: ResultRecord | None) -> None:
        for result in waiting.pop(id, ()):
            try:
                result._take(record)
                put(result)
            except HeelerError as error:
                put(error)
        if not waiting and not all_ended.done():
            all_ended.set_result(None)

    def on_notice(notice: Notice) -> None:
        if notice.status.is_finished:
            take(notice.id, notice.record)

    ids = list(waiting)
    if not ids:
        return
    addressed = frozenset(result.id for result in group if result._addressed)
    try:
        for id, record in zip(ids, await source.listener.follow(ids, on_notice, addressed=addressed), strict=True):
            if record is None or record.status.is_finished:
                take(id, record)
        await all_ended
    except HeelerError as error:
        put(error)
    finally:
        await source.listener.unfollow(ids, on_notice)
