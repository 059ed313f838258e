"""The tasks of `heeler demo`, in a module of their own because the demo's worker processes import it."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

from heeler.app import Heeler
from heeler.cli.demo_figures import Survey

__all__ = ["app", "greet", "survey"]

app = Heeler()  # HEELER_URL says where: the demo sets it to a file in its temporary folder


@app.task
def survey(path: str) -> Survey:
    """Parse one Python file and count what is in it."""
    source = Path(path).read_bytes()
    functions = classes = 0
    names: Counter[str] = Counter()
    for node in ast.walk(ast.parse(source, filename=path)):
        if isinstance(node, ast.Name):
            names[node.id] += 1
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            functions += 1
        elif isinstance(node, ast.ClassDef):
            classes += 1
    return Survey(source.count(b"\n"), functions, classes, dict(names))


@app.task
async def greet(name: str) -> str:
    """As little work as a job can have: what is measured with it is Heeler alone."""
    return f"hello {name}"
