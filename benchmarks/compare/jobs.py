"""The jobs that every system runs, in both colours, and where the servers are."""

import asyncio
import os
import time

BROKER = os.environ.get("COMPARE_BROKER", "redis://127.0.0.1:6379/0")
RESULTS = os.environ.get("COMPARE_RESULTS", "redis://127.0.0.1:6379/1")


def noop(a: int, b: int) -> int:
    return a + b


def sleep() -> int:
    time.sleep(0.001)
    return 1  # Huey stores no None


def payload(text: str) -> int:
    return len(text)


def clock() -> float:
    return time.time()


def process() -> int:
    time.sleep(0.005)
    return os.getpid()


def numbers(count: int) -> list[int]:
    return list(range(count))


def size(values: list[int]) -> int:
    return len(values)


async def async_noop(a: int, b: int) -> int:
    return a + b


async def async_sleep() -> int:
    await asyncio.sleep(0.001)
    return 1


async def async_payload(text: str) -> int:
    return len(text)


async def async_clock() -> float:
    return time.time()


async def async_process() -> int:
    time.sleep(0.005)  # noqa: ASYNC251 so that the next job goes to another process
    return os.getpid()


async def async_numbers(count: int) -> list[int]:
    return list(range(count))


async def async_size(values: list[int]) -> int:
    return len(values)


PLAIN = {"noop": noop, "sleep": sleep, "payload": payload, "clock": clock, "process": process}
PLAIN |= {"numbers": numbers, "size": size}
COROUTINES = {
    "noop": async_noop,
    "sleep": async_sleep,
    "payload": async_payload,
    "clock": async_clock,
    "process": async_process,
    "numbers": async_numbers,
    "size": async_size,
}
ARGUMENTS = {"noop": (1, 2), "sleep": (), "payload": ("x" * 1024,), "clock": (), "process": ()}
