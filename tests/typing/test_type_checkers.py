"""Both type checkers report the wrong calls of the sample, each on its line, and nothing else."""

import json
import re
import subprocess
import sys
from pathlib import Path

SAMPLE = Path(__file__).parent / "samples" / "tasks.py"
WRONG_LINES = {n for n, line in enumerate(SAMPLE.read_text().splitlines(), 1) if line.endswith("# error")}


def test_mypy_reports_wrong_arguments_and_knows_results(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}", str(SAMPLE)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )

    found = {int(n) for n in re.findall(r"tasks\.py:(\d+): error", done.stdout)}

    assert found == WRONG_LINES, done.stdout + done.stderr


def test_basedpyright_reports_wrong_arguments_and_knows_results(tmp_path):
    config = tmp_path / "pyrightconfig.json"
    config.write_text(
        json.dumps(
            {
                "include": [str(SAMPLE)],
                "typeCheckingMode": "standard",
                "reportUnusedCoroutine": False,
                "pythonVersion": "3.11",
                "venvPath": str(Path(sys.prefix).parent),
                "venv": Path(sys.prefix).name,
            }
        )
    )
    done = subprocess.run(
        [sys.executable, "-m", "basedpyright", "--outputjson", "--project", str(config)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )

    diagnostics = json.loads(done.stdout)["generalDiagnostics"]
    found = {d["range"]["start"]["line"] + 1 for d in diagnostics if d["severity"] == "error"}

    assert found == WRONG_LINES, diagnostics
