"""Settings from arguments, the environment and files."""

import inspect
import logging
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import typer

from heeler import Heeler, Retry
from heeler.cli.main import cli
from heeler.config import SETTINGS, UNSET, Config, Owner, variable
from heeler.errors import ConfigurationError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory without settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [*map(variable, SETTINGS), "HEELER_CONFIG"]:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def write(folder: Path, text: str, name: str = "pyproject.toml") -> None:
    (folder / name).write_text(text, "utf-8")


# One table


def arguments_of(function: object) -> set[str]:
    return set(inspect.signature(function).parameters) - {"self"}


def test_every_argument_of_an_app_and_of_a_worker_is_a_setting() -> None:
    of_app = {each.argument or name for name, each in SETTINGS.items() if each.owner is Owner.APP}
    assert of_app == arguments_of(Heeler.__init__) - {"broker", "clock"}  # objects that only code can make
    of_worker = {name for name, each in SETTINGS.items() if each.owner is Owner.WORKER}
    assert of_worker == arguments_of(Heeler.worker)


def test_every_option_of_the_command_worker_is_a_setting() -> None:
    worker = typer.main.get_command(cli).commands["worker"]
    options = {option.name for option in worker.params} - {"debug", "help"}
    assert options == {name for name, each in SETTINGS.items() if each.owner is not Owner.APP}


def test_defaults_are_what_their_kinds_would_make() -> None:
    for setting in SETTINGS.values():
        assert setting.meaning.endswith(".")
        assert setting.shown_default or setting.default is not None


# Where they come from


def test_an_argument_goes_before_the_environment_that_before_the_file_that_before_the_default(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Heeler("memory://").lease == 30.0
    write(folder, "[tool.heeler]\nlease = 10\n")
    assert Heeler("memory://").lease == 10.0
    monkeypatch.setenv("HEELER_LEASE", "20s")
    assert Heeler("memory://").lease == 20.0
    assert Heeler("memory://", lease=timedelta(seconds=40)).lease == 40.0
    origins = {
        "lease": "HEELER_LEASE",
        "url": "argument",
        "namespace": "default",
    }
    app = Heeler("memory://")
    assert {name: app.config.chosen(name).origin for name in origins} == origins


def test_an_argument_that_says_none_is_an_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEELER_TIMEOUT", "5")
    monkeypatch.setenv("HEELER_MAX_JOBS_PER_CHILD", "3")
    app = Heeler("memory://", timeout=None)
    assert app.config.chosen("timeout").origin == "argument"
    assert Heeler("memory://").task(abs, name="abs").options.timeout == 5.0
    assert app.task(abs, name="abs").options.timeout is None


def test_all_settings_of_an_app_can_be_in_a_file(folder: Path) -> None:
    write(
        folder,
        "from heeler import Middleware\nclass Seen(Middleware):\n    pass\ndef next_id(): return 'x'\n",
        "own.py",
    )
    write(
        folder,
        """
        [tool.heeler]
        url = "memory://"
        namespace = "shop"
        default_queue = "slow"
        declared_queues = ["images", "mail"]
        imports = ["own"]
        retry = {max_attempts = 3, delay = "2s", backoff = "linear", jitter = false, on = ["OSError"]}
        timeout = "1m30s"
        lease = 10.5
        result_ttl = "2h"
        codec = "json"
        id_maker = "own:next_id"
        middleware = ["own:Seen"]
        logger = "shop.queue"
        """,
    )
    app = Heeler()
    task = app.task(abs, name="abs")
    assert repr(app) == "<Heeler memory://>"
    assert (app.namespace, app.default_queue, app.lease, app.imports) == ("shop", "slow", 10.5, ("own",))
    assert app.queue_names == ["slow", "images", "mail"]
    assert task.options.retry == Retry(3, 2.0, "linear", jitter=False, on=(OSError,))
    assert (task.options.timeout, task.options.result_ttl) == (90.0, 7200.0)
    assert task.spec.codec.content_type == "application/json"
    assert [type(entry).__name__ for entry in app.middleware] == ["Seen"]
    assert app.logger is logging.getLogger("shop.queue")
    assert sys.modules["own"].next_id is app.config.chosen("id_maker").value


def test_all_settings_of_a_worker_can_be_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {
        "QUEUES": "images=3,default=1",
        "TASKS": "abs",
        "CONCURRENCY": "7",
        "NAME": "night",
        "GRACE": "1m",
        "BURST": "yes",
        "MAX_JOBS_PER_CHILD": "9",
    }
    for name, text in said.items():
        monkeypatch.setenv(f"HEELER_{name}", text)
    with Heeler("memory://") as app:
        app.task(abs, name="abs")
        app.task(len, name="len")
        worker = app.worker()
        assert (worker.name, worker.concurrency, worker.queues) == ("night", 7, ("images", "default"))
        profile = worker._profile
        assert ([share.weight for share in profile.queues], list(profile.tasks)) == ([3, 1], ["abs"])
        assert (profile.grace, profile.burst, worker._max_jobs_per_child) == (60.0, True, 9)
        assert app.worker().name == "night-2"
        assert app.worker(concurrency=2, name="day").concurrency == 2


def test_retries_in_the_environment_are_a_number_or_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEELER_RETRY", "5")
    assert Config().choose("retry") == Retry(5)
    monkeypatch.setenv("HEELER_RETRY", "max_attempts=none, delay=500ms")
    assert Config().choose("retry") == Retry(None, 0.5)


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEELER_CONCURRENCY", "")
    assert Config().choose("concurrency") == 20


# Files


def test_the_nearest_pyproject_with_settings_counts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = folder / "deep" / "er"
    deep.mkdir(parents=True)
    write(folder, "[tool.heeler]\nconcurrency = 3\n")
    write(folder / "deep", "[tool.other]\n")
    monkeypatch.chdir(deep)
    assert Config().choose("concurrency") == 3
    assert Config().chosen("concurrency").origin == f"{folder}/pyproject.toml [tool.heeler]"
    write(deep, "[tool.heeler]\nlease = 3\n")
    assert Config().choose("concurrency") == 20


@pytest.mark.parametrize("head", ["", "[tool.heeler]\n"])
def test_heeler_config_names_another_file(folder: Path, monkeypatch: pytest.MonkeyPatch, head: str) -> None:
    write(folder, "[tool.heeler]\nconcurrency = 3\nlease = 5\n")
    write(folder, f"{head}concurrency = 4\n", "live.toml")
    monkeypatch.setenv("HEELER_CONFIG", "live.toml")
    config = Config()
    assert (config.choose("concurrency"), config.choose("lease")) == (4, 30.0)
    assert config.chosen("concurrency").origin.startswith("live.toml")


def test_a_changed_file_is_read_again(folder: Path) -> None:
    write(folder, "[tool.heeler]\nconcurrency = 3\n")
    assert Config().choose("concurrency") == 3
    write(folder, "[tool.heeler]\nconcurrency = 40\n")
    assert Config().choose("concurrency") == 40


# Mistakes


def refused() -> str:
    with pytest.raises(ConfigurationError) as caught:
        Config()
    return str(caught.value)


def test_an_unknown_key_is_an_error_with_a_suggestion(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, "[tool.heeler]\nconcurency = 3\n")
    assert refused() == ("pyproject.toml [tool.heeler] has an unknown key 'concurency' (did you mean \"concurrency\"?)")
    with pytest.raises(ConfigurationError, match="unknown key 'concurency'"):
        Heeler("memory://")
    write(folder, "xyz = 3\n", "live.toml")
    monkeypatch.setenv("HEELER_CONFIG", "live.toml")
    assert refused().startswith("live.toml has an unknown key 'xyz'; known are app, burst,")


def test_a_variable_that_is_nearly_a_setting_is_an_error_and_others_are_not_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HEELER_TEST_REDIS_URL", "redis://…")
    monkeypatch.setenv("HEELER_HOME", "/opt/heeler")
    assert set(Config().sources.unknown) >= {"HEELER_HOME", "HEELER_TEST_REDIS_URL"}
    monkeypatch.setenv("HEELER_CONCURENCY", "3")
    assert refused() == "HEELER_CONCURENCY in the environment is no setting (did you mean HEELER_CONCURRENCY?)"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("concurrency", "many", "a whole number, 1 or more, got 'many'"),
        ("concurrency", "0", "a whole number, 1 or more, got '0'"),
        ("lease", "0", "a time like 30, 45s, 5m, 2h or 1h30m, more than 0, got '0'"),
        ("timeout", "soon", "a time like 30, 45s, 5m, 2h or 1h30m, more than 0, or none, got 'soon'"),
        ("burst", "maybe", "true or false, got 'maybe'"),
        ("log_level", "loud", "one of debug, info, warning, error, got 'loud'"),
        ("queues", "a=3,b", "names like images,default, or each with a weight like images=3,default=1, got 'a=3,b'"),
        ("imports", "a,,b", "modules like shop.jobs,shop.mail, or a list of them, got 'a,,b'"),
        ("retry", "max_atempts=3", "attempts like 5, or arguments of Retry like"),
        ("middleware", "own", "import paths like shop.tracing:Timing, got 'own'"),
        (
            "id_maker",
            "nowhere_to_be_found:x",
            "module:name, got 'nowhere_to_be_found:x' (ModuleNotFoundError: No module",
        ),
        ("codec", "yaml", "msgpack, json, or an import path like shop.codecs:ZippedJson, got 'yaml'"),
    ],
)
def test_a_value_that_cannot_be_right_is_named_with_its_place(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, said: str
) -> None:
    monkeypatch.setenv(variable(name), text)
    with pytest.raises(ConfigurationError) as caught:
        Config().choose(name)
    assert str(caught.value).startswith(f"{variable(name)} must be ")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tool.heeler]\nconcurrency = true\n", "pyproject.toml [tool.heeler] concurrency must be a whole number"),
        ("[tool.heeler]\nqueues = 3\n", "pyproject.toml [tool.heeler] queues must be names"),
        ("[tool.heeler]\ncodec = 3\n", "pyproject.toml [tool.heeler] codec must be msgpack"),
        ("[tool.heeler]\nlog_level = 3\n", "pyproject.toml [tool.heeler] log_level must be one of"),
    ],
)
def test_a_value_in_a_file_is_named_with_its_place(folder: Path, text: str, said: str) -> None:
    write(folder, text)
    with pytest.raises(ConfigurationError) as caught:
        Config().choose(text.split("\n")[1].split(" ")[0])
    assert str(caught.value).startswith(said)


def test_a_file_that_cannot_be_read_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, "[tool.heeler\n")
    assert refused().startswith("pyproject.toml cannot be read: ")
    write(folder, "[tool]\nheeler = 3\n")
    assert refused() == "pyproject.toml [tool.heeler] must be a table of settings, got 3"
    monkeypatch.setenv("HEELER_CONFIG", "missing.toml")
    assert refused().startswith("HEELER_CONFIG=missing.toml cannot be read: ")


# Shown


def test_passwords_are_hidden_and_objects_have_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEELER_URL", "redis://me:secret@host/0")
    config = Config()
    assert config.chosen("url").shown == "redis://me:***@host/0"
    assert config.chosen("id_maker").shown == "heeler.clock:new_id"
    config.choose("retry", Retry(3, timedelta(seconds=2), on=(OSError,)))
    assert config.chosen("retry").shown == "max_attempts=3, delay=2s, on=OSError"
    config.choose("lease", timedelta(minutes=1))
    assert config.chosen("lease").shown == "60s"
    config.choose("logger", logging.getLogger("shop"))
    assert config.chosen("logger").shown == "shop"
    config.choose("middleware", [object()])
    assert config.chosen("middleware").shown == ["object"]


def test_a_wrong_password_is_not_in_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEELER_LEASE", "redis://me:secret@host/0")
    with pytest.raises(ConfigurationError, match=r"\*\*\*@host") as caught:
        Config().choose("lease")
    assert "secret" not in str(caught.value)


def test_unset_says_so() -> None:
    assert repr(UNSET) == "UNSET"
