"""Every setting, in one table: what reads the environment and files, `heeler config`, and the documentation."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from heeler.clock import new_id
from heeler.config import kinds
from heeler.config.kinds import Kind
from heeler.model import Retry

__all__ = ["DEFAULT_URL", "PREFIX", "SETTINGS", "Owner", "Setting", "variable"]

PREFIX = "HEELER_"
DEFAULT_URL = "sqlite:///heeler.db"


class Owner(enum.Enum):
    """What takes the setting."""

    APP = "Heeler(…)"
    WORKER = "app.worker(…), heeler worker"
    COMMAND = "heeler"


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting by its name in files; `argument` is what the parameter of its owner is called."""

    name: str
    owner: Owner
    kind: Kind
    default: Any
    meaning: str
    argument: str = ""
    shown_default: str = ""
    secret: bool = False  # the password in it is hidden


def variable(name: str) -> str:
    """What the setting is called in the environment."""
    return PREFIX + name.upper()


def _table(*settings: Setting) -> dict[str, Setting]:
    return {setting.name: setting for setting in settings}


_APP, _WORKER, _COMMAND = Owner.APP, Owner.WORKER, Owner.COMMAND

SETTINGS = _table(
    Setting("url", _APP, kinds.text("a URL"), DEFAULT_URL, "The broker.", secret=True),
    Setting(
        "results",
        _APP,
        kinds.text("a URL"),
        None,
        "The result store, where it is not the broker's own; `none://` for none.",
        shown_default="the broker's own",
        secret=True,
    ),
    Setting("namespace", _APP, kinds.text("a name"), "heeler", "Keeps apps on one server apart."),
    Setting("default_queue", _APP, kinds.text("a name"), "default", "The queue of tasks that name none."),
    Setting(
        "declared_queues",
        _APP,
        kinds.names(),
        (),
        "Queues that workers take from though no task names them.",
        argument="queues",
        shown_default="none",
    ),
    Setting(
        "imports",
        _APP,
        kinds.names("modules like shop.jobs,shop.mail, or a list of them"),
        (),
        "Modules that register tasks.",
        shown_default="none",
    ),
    Setting("retry", _APP, kinds.retry(), Retry(), "The retry policy of tasks that have none.", shown_default="none"),
    Setting(
        "timeout",
        _APP,
        kinds.duration(optional=True, positive=True),
        None,
        "The timeout of tasks that have none.",
        shown_default="none",
    ),
    Setting(
        "lease", _APP, kinds.duration(positive=True), 30.0, "After so long without a sign a worker counts as dead."
    ),
    Setting(
        "result_ttl", _APP, kinds.duration(), 86400.0, "How long results are kept after the end.", shown_default="1d"
    ),
    Setting("codec", _APP, kinds.codec(), "msgpack", "How arguments and results become bytes."),
    Setting(
        "id_maker",
        _APP,
        kinds.object_path(),
        new_id,
        "Makes the ids of jobs.",
        shown_default="UUIDv7",
    ),
    Setting("middleware", _APP, kinds.object_paths(), (), "Middleware, the first outermost.", shown_default="none"),
    Setting(
        "logger", _APP, kinds.logger(), None, "The logger under which all parts of Heeler log.", shown_default="heeler"
    ),
    Setting(
        "queues",
        _WORKER,
        kinds.queue_shares(),
        None,
        "What workers take from: in strict order, or by weight.",
        shown_default="all that the app names",
    ),
    Setting("tasks", _WORKER, kinds.names(), None, "The only tasks that workers run.", shown_default="all"),
    Setting("concurrency", _WORKER, kinds.whole(1), 20, "Jobs at once in each worker process."),
    Setting("name", _WORKER, kinds.text("a name"), None, "What others see of the worker.", shown_default="worker-1"),
    Setting("grace", _WORKER, kinds.duration(), 25.0, "What running jobs get at a shutdown.", shown_default="25s"),
    Setting("burst", _WORKER, kinds.flag(), False, "Stop when nothing is left.", shown_default="false"),
    Setting(
        "max_jobs_per_child",
        _WORKER,
        kinds.whole(1),
        None,
        "Renew a child process of executor=process after so many jobs.",
        shown_default="no limit",
    ),
    Setting(
        "scheduler",
        _WORKER,
        kinds.flag(),
        True,
        "Whether workers also start what schedules say.",
        shown_default="true",
    ),
    Setting(
        "health_port",
        _WORKER,
        kinds.whole(0, 65535),
        None,
        "Tell at /live, /ready and /metrics of this port how the workers are; 0 lets the system choose one.",
        shown_default="none",
    ),
    Setting(
        "health_host",
        _WORKER,
        kinds.text("a host name or an address"),
        None,
        "The address of that port.",
        shown_default="all of this machine",
    ),
    Setting("health_file", _WORKER, kinds.text("a path"), None, "Tell it in this file as well.", shown_default="none"),
    Setting(
        "health_patience",
        _WORKER,
        kinds.duration(positive=True),
        30.0,
        "A worker whose loop is silent for longer is not live.",
        shown_default="30s",
    ),
    Setting("app", _COMMAND, kinds.text("a text like module:app"), None, "The app.", shown_default="none"),
    Setting("processes", _COMMAND, kinds.whole(1), 1, "Processes of `heeler worker`."),
    Setting(
        "reload",
        _COMMAND,
        kinds.flag(),
        False,
        "Whether `heeler worker` starts anew when a source file changes.",
        shown_default="false",
    ),
    Setting(
        "reload_dirs",
        _COMMAND,
        kinds.names("folders like src,tests, or a list of them"),
        (".",),
        "What it watches for that.",
        shown_default="the working directory",
    ),
    Setting(
        "log_level",
        _COMMAND,
        kinds.choice("debug", "info", "warning", "error"),
        None,
        "The level of the log of `heeler worker`.",
        shown_default="info, or what the app has set",
    ),
    Setting(
        "log_format",
        _COMMAND,
        kinds.choice("text", "json"),
        None,
        "Its form: lines for people, or one JSON object a line.",
        shown_default="text",
    ),
)
