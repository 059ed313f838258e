"""`heeler config`, and settings that reach worker processes."""

from command_shell import Shell, read_until


def values(shell: Shell, *arguments: str, **environment: str) -> dict[str, tuple[object, str]]:
    records = shell.heeler("config", "--json", *arguments, **environment).records
    return {record["name"]: (record["value"], record["origin"]) for record in records}


def test_it_shows_values_with_their_origin_and_hides_passwords(shell: Shell) -> None:
    (shell.folder / "pyproject.toml").write_text("[tool.heeler]\nconcurrency = 3\nname = 'night'\n")
    (shell.folder / "shop.py").write_text("from heeler import Heeler\napp = Heeler(lease=5)\n")
    shown = values(shell, HEELER_NAME="day", HEELER_URL="redis://me:secret@nowhere/0")
    assert shown["url"] == ("redis://me:***@nowhere/0", "HEELER_URL")
    assert shown["lease"] == ("5s", "the code of the app")
    assert shown["concurrency"] == (3, "pyproject.toml [tool.heeler]")
    assert shown["name"] == ("day", "HEELER_NAME")
    assert shown["app"] == ("shop:app", "HEELER_APP")
    assert shown["processes"] == (1, "default")
    done = shell.heeler("config", HEELER_URL="redis://me:secret@nowhere/0", HEELER_OTHER="1")
    assert "secret" not in done.out
    assert done.err == "heeler: without effect, since no setting is called so: HEELER_OTHER\n"


def test_it_needs_no_app(shell: Shell) -> None:
    shown = values(shell, HEELER_APP="")
    assert shown["app"] == (None, "default")
    assert shown["url"] == (shell.environment["HEELER_URL"], "HEELER_URL")
    assert values(shell, "--app", "shop:app", HEELER_APP="")["app"] == ("shop:app", "--app")


def test_a_worker_takes_its_options_from_the_environment_and_the_file(shell: Shell) -> None:
    (shell.folder / "pyproject.toml").write_text('[tool.heeler]\nconcurrency = 3\nqueues = ["images"]\nprocesses = 2\n')
    shell.environment["HEELER_CONCURRENCY"] = "4"
    worker = shell.worker("--queues", "default")
    said = read_until(worker, "concurrency")
    facts = dict(line.split(None, 1) for line in said.splitlines())
    assert facts["queues"].strip() == "default"
    assert facts["concurrency"].strip() == "2 processes, 4 jobs at once in each"


def test_a_wrong_setting_is_one_line_and_a_wrong_usage(shell: Shell) -> None:
    done = shell.heeler("worker", HEELER_GRACE="long")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert done.err.startswith("heeler: HEELER_GRACE must be a time like 30")
