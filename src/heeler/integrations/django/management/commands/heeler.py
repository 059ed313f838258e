"""`manage.py heeler …`: every command of `heeler`, on the app behind a backend of `TASKS`."""

from __future__ import annotations

import argparse
import runpy
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

__all__ = ["Command"]


class Command(BaseCommand):
    help = "Run a command of Heeler's: manage.py heeler worker, manage.py heeler jobs list, manage.py heeler --help."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--backend", default="default", metavar="ALIAS", help="The backend's alias in TASKS.")
        parser.add_argument("command_line", nargs=argparse.REMAINDER, metavar="COMMAND …")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["backend"] not in settings.TASKS:
            raise CommandError(f"TASKS has no backend {options['backend']!r}; it has {', '.join(settings.TASKS)}")
        connections.close_all()  # worker processes are forked, and must not share what Django has opened
        app = f"heeler.integrations.django.app:{options['backend']}"
        before = sys.argv
        sys.argv = ["heeler", "--app", app, *options["command_line"]]
        try:
            runpy.run_module("heeler", run_name="__main__")
        except SystemExit as end:
            if end.code:
                raise
        finally:
            sys.argv = before
