"""Every block of the documentation is run, page by page, each page in a folder of its own.

- `python title="name.py"` (or any other language with a file name as title) is written to that file;
- `python` runs in one interpreter for all such blocks of the page;
- `shell` runs line by line; `heeler worker` without `--burst` runs until the page ends, and must then end in order;
  `make` is only asked whether it knows the target;
- `text title="output"` is what the block before it must have printed, where … stands for anything;
- other `text` is not run.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from markdown_blocks import Block, blocks_of

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
RUN = {"python", "shell"}
SHOWN = {"text", "toml", "ini"}
HAS_DJANGO_TASKS = sys.version_info >= (3, 12)  # else there are those of the backport, as the page says
WORKER = re.compile(r"\bheeler worker\b")


class Page:
    """The folder, the interpreter and the workers of one page while its blocks are run."""

    def __init__(self, page: Path, folder: Path) -> None:
        self.name = str(page.relative_to(ROOT))
        self.folder = folder
        self.output = ""
        self._workers: list[subprocess.Popen[str]] = []
        self._session: subprocess.Popen[str] | None = None
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("HEELER_")}
        self._environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._environment["COLUMNS"] = "120"

    def run(self, block: Block) -> None:
        if block.title == "output":
            self._compare(block)
        elif block.title:
            code = block.code if HAS_DJANGO_TASKS else block.code.replace("django.tasks", "django_tasks")
            (self.folder / block.title).write_text(code, "utf-8")
        elif block.language == "python":
            self._run_python(block)
        elif block.language == "shell":
            self.output = "".join(self._run_line(line, block) for line in _commands(block.code))

    def _run_python(self, block: Block) -> None:
        if self._session is None:
            self._session = subprocess.Popen(
                [sys.executable, "-W", "error::ResourceWarning", str(Path(__file__).with_name("page_session.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=self.folder,
                env=self._environment,
            )
        assert self._session.stdin is not None
        assert self._session.stdout is not None
        request = {"code": block.code, "page": self.name, "line": block.line}
        self._session.stdin.write(json.dumps(request) + "\n")
        self._session.stdin.flush()
        answer: dict[str, Any] = json.loads(self._session.stdout.readline() or '{"error": "the interpreter died"}')
        assert answer["error"] is None, f"{self.name}:{block.line}\n{answer['error']}"
        self.output = answer["output"]

    def _run_line(self, line: str, block: Block) -> str:
        if line.startswith("make "):
            subprocess.run(f"{line} --dry-run", shell=True, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
            return ""
        if WORKER.search(line) and "--burst" not in line:
            worker = subprocess.Popen(
                f"exec {line}",
                shell=True,
                text=True,
                cwd=self.folder,
                env=self._environment,
                stderr=subprocess.PIPE,
            )
            self._workers.append(worker)
            return ""
        done = subprocess.run(
            line, shell=True, text=True, cwd=self.folder, env=self._environment, capture_output=True, timeout=60
        )
        assert done.returncode == 0, f"{self.name}:{block.line}\n{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def _compare(self, block: Block) -> None:
        expected = "\n".join(line.rstrip() for line in block.code.strip().splitlines())
        printed = "\n".join(line.rstrip() for line in self.output.strip().splitlines())
        pattern = ".*?".join(re.escape(part) for part in expected.split("…"))
        assert re.fullmatch(pattern, printed, re.DOTALL), (
            f"{self.name}:{block.line}\n--- the page says\n{expected}\n--- printed was\n{printed}"
        )

    def close(self) -> None:
        if self._session is not None:
            self._session.communicate(timeout=30)
            assert self._session.returncode == 0, f"{self.name}: the interpreter ended with {self._session.returncode}"
        for worker in self._workers:
            worker.send_signal(signal.SIGTERM)
            _, errors = worker.communicate(timeout=30)
            assert worker.returncode == 0, f"{self.name}: the worker ended with {worker.returncode}\n{errors}"

    def kill(self) -> None:
        """Leave nothing behind, whatever went wrong."""
        for process in [*self._workers, *([self._session] if self._session else [])]:
            if process.poll() is None:
                process.kill()
                process.communicate()


def _commands(code: str) -> list[str]:
    lines = code.replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture
def opened_page(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Page]:
    page = Page(request.param, tmp_path)
    yield page
    page.kill()


@pytest.mark.parametrize(
    "opened_page",
    [page for page in PAGES if any(block.language in RUN for block in blocks_of(page))],
    indirect=True,
    ids=_name,
)
def test_every_block_of_the_page_runs_and_prints_what_it_says(opened_page: Page) -> None:
    for block in blocks_of(ROOT / opened_page.name):
        opened_page.run(block)
    opened_page.close()


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_block_says_whether_it_is_run(page: Path) -> None:
    for block in blocks_of(page):
        assert block.language in RUN | SHOWN or block.title, f"{_name(page)}:{block.line}: {block.language!r}"


LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")), ids=_name)
def test_links_between_the_project_s_own_files_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text("utf-8")):
        assert (ROOT / target).exists(), f"{page.name} links to {target}, which is not there"
