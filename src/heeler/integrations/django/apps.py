"""What makes the folder an installed app of Django, so that it finds the command `manage.py heeler`."""

from __future__ import annotations

from django.apps import AppConfig

__all__ = ["HeelerConfig"]


class HeelerConfig(AppConfig):
    name = "heeler.integrations.django"
    label = "heeler"
    verbose_name = "Heeler"

    def ready(self) -> None:
        """Have Django's own check of `TASKS` run, also where no module with tasks is imported yet."""
        import heeler.integrations.django.standard  # noqa: F401
