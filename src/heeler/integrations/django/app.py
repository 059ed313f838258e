"""The apps behind Django's backends, for the command line: `--app heeler.integrations.django.app:default`.

The name after the colon is the alias in `TASKS`. Importing this module sets Django up, which needs
DJANGO_SETTINGS_MODULE, and imports the module `tasks` of every installed app.
"""

from __future__ import annotations

import django
from django.apps import apps
from django.conf import settings
from django.utils.module_loading import autodiscover_modules

from heeler.app import Heeler

if not apps.ready:
    django.setup()

from heeler.integrations.django.backend import app_of, register_all

__all__ = [*settings.TASKS]

autodiscover_modules("tasks")


def __getattr__(alias: str) -> Heeler:
    if alias.startswith("__") or alias not in settings.TASKS:
        raise AttributeError(f"TASKS has no backend {alias!r}; it has {', '.join(settings.TASKS)}")
    register_all(alias)
    return app_of(alias)
