"""Completion in bash, zsh and fish."""

import shutil
import subprocess
import sys

import pytest
from command_shell import Shell, read_until


def completed(shell: Shell, kind: str, line: str) -> set[str]:
    """What the shell is offered after `line`."""
    environment = {
        "_HEELER_COMPLETE": f"complete_{kind}",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    done = shell.heeler(**environment)
    assert done.err == ""
    if kind == "zsh":
        return {part.split('"')[1].partition(":")[0] for part in done.out.split("((")[-1].split("\n") if '"' in part}
    return {text.partition("\t")[0] for text in done.out.splitlines() if text}


@pytest.mark.parametrize("kind", ["bash", "zsh", "fish"])
def test_commands_and_names_of_the_app_are_completed(shell: Shell, kind: str) -> None:
    assert completed(shell, kind, "heeler wor") == {"worker", "workers", "workflow"}
    assert completed(shell, kind, "heeler workflow ") == {"show"}
    assert completed(shell, kind, "heeler workflow show x --w") == {"--watch"}
    assert completed(shell, kind, "heeler enqueue shop.r") == {"shop.resize"}
    assert completed(shell, kind, "heeler enqueue res") == {"resize"}
    assert completed(shell, kind, "heeler queues pause ") == {"default", "images"}
    assert "--concurrency" in completed(shell, kind, "heeler worker --con")


def test_live_workers_are_completed(shell: Shell) -> None:
    worker = shell.worker("--name", "night")
    read_until(worker, "running")
    assert completed(shell, "bash", "heeler workers stop n") == {"night"}


@pytest.mark.parametrize("broken", ["raise RuntimeError('no')", "print('hello')"])
def test_an_app_that_fails_or_prints_does_not_disturb_the_prompt(shell: Shell, broken: str) -> None:
    (shell.folder / "shop.py").write_text(broken)
    assert completed(shell, "bash", "heeler enqueue a") == set()


@pytest.mark.parametrize(
    ("kind", "its_own"), [("bash", "COMPREPLY"), ("zsh", "#compdef heeler"), ("fish", "complete --command heeler")]
)
def test_each_shell_gets_its_script(shell: Shell, kind: str, its_own: str) -> None:
    script = shell.heeler(_HEELER_COMPLETE=f"source_{kind}").out
    assert its_own in script
    assert f"_HEELER_COMPLETE=complete_{kind}" in script


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_with_the_script_it_is_given(shell: Shell) -> None:
    script = shell.heeler(_HEELER_COMPLETE="source_bash").out
    heeler = shell.folder / "heeler"
    heeler.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m heeler "$@"\n')
    heeler.chmod(0o755)
    typed = f"{script}\nCOMP_WORDS=(./heeler enqueue shop.re); COMP_CWORD=2\n_heeler_completion ./heeler\n"
    done = subprocess.run(
        ["bash", "-c", typed + 'echo "${COMPREPLY[@]}"'],
        cwd=shell.folder,
        env=shell.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "shop.resize\n"
