"""Waiting for many jobs at once: all of them in order, or each as it ends."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, TypeVar, overload

from heeler.errors import HeelerError, ResultTimeout
from heeler.io_thread import closed_meanwhile
from heeler.model import Notice, ResultRecord
from heeler.task_result import TaskResult, wait_all

__all__ = ["aas_completed", "agather", "as_completed", "gather"]

R = TypeVar("R")


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

    `timeout` in seconds is for all together. With `return_exceptions` the errors stand in place of values; else the
    wait ends with the first failure, which is raised as `get` would, while the other jobs go on.
    """
    handles = list(results)
    given_up: dict[str, HeelerError] = {}
    time_left = _time_left(handles, timeout)
    for group in _by_app(handles):
        waiting = wait_all(group, time_left(), until_failure=not return_exceptions)
        given_up |= group[0]._source.connections.io.run(waiting)
    return _outcomes(handles, given_up, return_exceptions)


@overload
async def agather(
    results: Iterable[TaskResult[R]], timeout: float | None = None, return_exceptions: Literal[False] = False
) -> list[R]: ...
@overload
async def agather(
    results: Iterable[TaskResult[R]], timeout: float | None = None, *, return_exceptions: bool
) -> list[R | BaseException]: ...
async def agather(
    results: Iterable[TaskResult[Any]], timeout: float | None = None, return_exceptions: bool = False
) -> list[Any]:
    """`gather` from async code."""
    handles = list(results)
    given_up: dict[str, HeelerError] = {}
    time_left = _time_left(handles, timeout)
    for group in _by_app(handles):
        waiting = wait_all(group, time_left(), until_failure=not return_exceptions)
        given_up |= await group[0]._source.connections.io.arun(waiting)
    return _outcomes(handles, given_up, return_exceptions)


def _by_app(handles: Sequence[TaskResult[R]]) -> list[list[TaskResult[R]]]:
    groups: dict[int, list[TaskResult[R]]] = {}
    for result in handles:
        groups.setdefault(id(result._source), []).append(result)
    return list(groups.values())


def _time_left(handles: Sequence[TaskResult[Any]], timeout: float | None) -> Callable[[], float | None]:
    """How many of the seconds are left each time it is asked; None without a timeout."""
    if timeout is None or not handles:
        return lambda: timeout
    monotonic = handles[0]._source.clock.monotonic
    deadline = monotonic() + timeout
    return lambda: max(0.0, deadline - monotonic())


def _outcomes(handles: Sequence[TaskResult[Any]], given_up: dict[str, HeelerError], errors_too: bool) -> list[Any]:
    """The values in order, and the errors among them or the first of them raised."""
    outcomes: list[Any] = []
    for result in handles:
        try:
            if result.id in given_up:
                raise given_up[result.id]
            if result.is_finished:  # else the wait ended with the failure of a later one
                outcomes.append(result._outcome())
        except HeelerError as error:
            if not errors_too:
                raise
            outcomes.append(error)
    return outcomes


def as_completed(results: Iterable[TaskResult[R]], timeout: float | None = None) -> Iterator[TaskResult[R]]:
    """Each handle as its job ends, first come first. Raises ResultTimeout when `timeout` seconds are over."""
    handles = list(results)
    ended: queue.SimpleQueue[TaskResult[R] | BaseException] = queue.SimpleQueue()
    pumps = [group[0]._source.connections.io.submit(_each_ended(group, ended.put)) for group in _by_app(handles)]
    time_left = _time_left(handles, timeout)
    try:
        for _ in handles:
            try:
                item = ended.get(timeout=time_left())
            except queue.Empty:
                raise _too_late(handles, timeout) from None
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
    time_left = _time_left(handles, timeout)
    try:
        for _ in handles:
            try:
                item = await asyncio.wait_for(ended.get(), time_left())
            except TimeoutError:
                raise _too_late(handles, timeout) from None
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        for pump in pumps:
            pump.cancel()


def _too_late(handles: Sequence[TaskResult[Any]], timeout: float | None) -> ResultTimeout:
    return ResultTimeout(f"not all of {len(handles)} jobs have ended within {timeout:g} s; they go on")


async def _each_ended(group: Sequence[TaskResult[R]], put: Callable[[TaskResult[R] | BaseException], None]) -> None:
    """On the I/O thread: put each handle when its job has ended, with one registration for the whole group.

    What ends the wait early is put in its place; nobody reads it where the reader has stopped by itself.
    """
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
    addressed = {result.id: result._addressed for result in group if result._addressed}
    try:
        for id, record in (await source.listener.follow(ids, on_notice, addressed=addressed)).items():
            if record is None or record.status.is_finished:
                take(id, record)
        await all_ended
    except asyncio.CancelledError:
        put(closed_meanwhile())
    except Exception as error:
        put(error)
    finally:
        await source.listener.unfollow(ids, on_notice)
