"""Both type checkers report the wrong calls of the samples, each on its line, and nothing else."""

import json
import re
import subprocess
import sys
from pathlib import Path

SAMPLES = sorted((Path(__file__).parent / "samples").glob("*.py"))
WRONG_LINES = {
    (sample.name, n)
    for sample in SAMPLES
    for n, line in enumerate(sample.read_text().splitlines(), 1)
    if line.endswith("# error")
}


def test_mypy_reports_wrong_arguments_and_knows_results(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}", *map(str, SAMPLES)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )

    found = {(name, int(n)) for name, n in re.findall(r"(\w+\.py):(\d+): error", done.stdout)}

    assert found == WRONG_LINES, done.stdout + done.stderr


def test_basedpyright_reports_wrong_arguments_and_knows_results(tmp_path):
    config = tmp_path / "pyrightconfig.json"
    config.write_text(
        json.dumps(
            {
                "include": [str(sample) for sample in SAMPLES],
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
    found = {(Path(d["file"]).name, d["range"]["start"]["line"] + 1) for d in diagnostics if d["severity"] == "error"}

    assert found == WRONG_LINES, diagnostics
