"""The settings of the tests' Django project; the databases are in the folder that SITE_DATA names."""

import os

import django

DATA = os.environ["SITE_DATA"]
SECRET_KEY = "not a secret"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["heeler.integrations.django", "shop"]
if django.VERSION < (6,):
    INSTALLED_APPS.append("django_tasks")
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{DATA}/site.db"}}
TASKS = {
    "default": {
        "BACKEND": "heeler.integrations.django.HeelerBackend",
        "QUEUES": ["default", "mail"],
        "OPTIONS": {"url": f"sqlite:///{DATA}/jobs.db"},
    },
    "at_once": {
        "BACKEND": "heeler.integrations.django.HeelerBackend",
        "QUEUES": [],
        "OPTIONS": {"url": f"sqlite:///{DATA}/jobs.db", "namespace": "at_once", "enqueue_on_commit": False},
    },
}
