"""A virtual environment for each system, made under `build/compare/` from the block at the top of its file."""

import os
import re
import subprocess
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "compare"
SYSTEMS = Path(__file__).parent / "systems"

_SCRIPT_BLOCK = re.compile(r"^# /// script\n(?P<lines>(?:#.*\n)+?)# ///$", re.MULTILINE)  # inline script metadata


def known_systems(folder: Path = SYSTEMS) -> list[str]:
    """Heeler first, then the others by name."""
    names = sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    return sorted(names, key=lambda name: name != "heeler")


def requirements(system: str, folder: Path = SYSTEMS) -> list[str]:
    """What is to be installed for a system. One that begins with a dot is this project itself."""
    found = _SCRIPT_BLOCK.search((folder / f"{system}.py").read_text(encoding="utf-8"))
    if found is None:
        raise ValueError(f"{folder.relative_to(ROOT)}/{system}.py has no '# /// script' block")
    block = "".join(line.removeprefix("#").removeprefix(" ") for line in found["lines"].splitlines(keepends=True))
    dependencies: list[str] = tomllib.loads(block)["dependencies"]
    return dependencies


def python_of(system: str, systems: Path = SYSTEMS, prefix: str = "") -> str:
    """The interpreter of a system's environment, which is made if it is missing or its requirements have changed."""
    folder = BUILD / f"{prefix}{system}"
    python = folder / "bin" / "python"
    wanted = requirements(system, systems)
    stamp = folder / ".installed"
    if not (stamp.exists() and stamp.read_text(encoding="utf-8") == "\n".join(wanted)):
        venv.create(folder, with_pip=True, clear=True)
        options = [part for name in wanted for part in (["--editable", name] if name.startswith(".") else [name])]
        command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *options]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"the environment of {system} cannot be made:\n{done.stderr}")
        stamp.write_text("\n".join(wanted), encoding="utf-8")
    return str(python)


def surroundings(broker: str, results: str, **more: str) -> dict[str, str]:
    """The environment variables of everything that is measured; `more` by names without `COMPARE_`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return {
        **inherited,
        "PYTHONPATH": str(ROOT),
        "COMPARE_BROKER": broker,
        "COMPARE_RESULTS": results,
        **{f"COMPARE_{name.upper()}": value for name, value in more.items()},
    }
