"""A backend for Django's tasks: functions under Django's own `@task` become jobs of Heeler.

`INSTALLED_APPS` gets "heeler.integrations.django", for `manage.py heeler worker`; `TASKS` names the backend:

    TASKS = {
        "default": {
            "BACKEND": "heeler.integrations.django.HeelerBackend",
            "OPTIONS": {"url": "sqlite:///jobs.db"},
        }
    }
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from heeler.integrations.django.backend import HeelerBackend, HeelerTask

__all__ = ["HeelerBackend", "HeelerTask"]


def __getattr__(name: str) -> Any:
    """Loaded when asked for: an installed app is imported before Django is ready for what they need."""
    if name in __all__:
        from heeler.integrations.django import backend

        return getattr(backend, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
