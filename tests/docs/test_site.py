"""The documentation builds without a warning and without the network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FETCHED = re.compile(r"""<(?:link|script|img)\b[^>]*\b(?:href|src)=["']?(https?:)?//""")


def test_the_site_builds_without_warnings_and_fetches_nothing(tmp_path: Path) -> None:
    site = tmp_path / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(site)],
        cwd=ROOT,
        env={**os.environ, "https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    for page in site.rglob("*.html"):
        foreign = [match for match in FETCHED.finditer(page.read_text("utf-8")) if "canonical" not in match[0]]
        assert not foreign, f"{page.relative_to(site)} fetches {foreign[0][0]}"
