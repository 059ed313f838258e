"""What `heeler worker` says of itself before it works: a few aligned lines, or one record of the log."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.metadata import version

from rich.text import Text

from heeler.app import Heeler
from heeler.cli.output import print_facts, stderr
from heeler.errors import BrokerUnavailable
from heeler.worker.health_door import HealthPlace

__all__ = ["introduce", "introduction"]

MOST_TASKS = 12  # by name


def introduction(
    app: Heeler,
    reference: str,
    queues: Sequence[str] | dict[str, int] | None,
    tasks: Sequence[str] | None,
    at_once: str,
    health: HealthPlace,
) -> list[tuple[str, str]]:
    """The app, its broker without the password, how durable that is, and what will run.

    Raises BrokerUnavailable where that is final.
    """
    connections = app.connections
    findings: list[tuple[str, str, str]] = []
    try:
        findings = connections.io.run(connections.opened_blocking().doctor())
    except BrokerUnavailable as error:  # the worker waits for it, and says so
        if error.given_up:
            raise
    finally:
        connections.disconnect()  # worker processes are forked from here, and connect for themselves
    return [
        ("app", reference),
        ("broker", connections.shown_url),
        *((topic, text) for _, topic, text in findings if topic == "durability"),
        ("queues", _queues_text(queues or app.queue_names)),
        ("tasks", _tasks_text(sorted(tasks or app.tasks))),
        ("concurrency", at_once),
        *_health_facts(health),
    ]


def introduce(logger: logging.Logger, facts: Sequence[tuple[str, str]], *, as_json: bool) -> None:
    """Say it on stderr, or to a log that is read by a program."""
    if as_json:
        logger.info("starting", extra={"version": version("heeler"), **dict(facts)})
        return
    console = stderr()
    console.print(Text(f"heeler {version('heeler')}", style="bold"))
    print_facts(facts, indent="  ", to=console)


def _health_facts(health: HealthPlace) -> list[tuple[str, str]]:
    said = [] if health.port is None else [f"port {health.port or 'to be chosen'} with /live, /ready, /metrics"]
    said += [] if health.file is None else [health.file]
    return [("health", "; ".join(said))] if said else []


def _tasks_text(names: list[str]) -> str:
    if not names:
        return "none, so nothing is run: name their modules in Heeler(imports=[…])"
    more = len(names) - MOST_TASKS
    return ", ".join(names) if more <= 1 else f"{', '.join(names[:MOST_TASKS])} and {more} more"


def _queues_text(queues: Sequence[str] | dict[str, int]) -> str:
    if isinstance(queues, dict):
        return ", ".join(f"{queue}={weight}" for queue, weight in queues.items())
    return ", ".join(queues)
