"""Map and reduce over real text: the words of Python's own library, counted file by file, and put together."""

import ast
import re
from collections import Counter
from pathlib import Path

from heeler import Heeler, chord, group

app = Heeler("memory://")
LIBRARY = Path(ast.__file__).parent
WORD = re.compile(r"[a-z_]{4,}")


def words(path: str) -> Counter[str]:
    return Counter(WORD.findall(Path(path).read_text("utf-8", errors="replace").lower()))


@app.task
def count(path: str) -> dict[str, int]:
    """Map: the words of one file."""
    return words(path)


@app.task
def add_up(parts: list[dict[str, int]]) -> dict[str, int]:
    """Reduce: the words of some files."""
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return total


@app.task
def most_common(parts: list[dict[str, int]], number: int) -> list[tuple[str, int]]:
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return total.most_common(number)


def main() -> None:
    files = sorted(str(path) for path in LIBRARY.glob("*.py"))
    with app, app.worker(concurrency=4):
        parts = [files[start : start + 20] for start in range(0, len(files), 20)]
        run = chord(
            group(chord(group(count.s(path) for path in part), add_up.s()) for part in parts),  # drawn as they are sent
            most_common.s(10),
        ).enqueue()
        found = run.get(timeout=60)
    print(f"{len(files)} files, {run.progress} jobs; the words that are there most:")
    print(", ".join(f"{word} {number:,}" for word, number in found))
    expected = sum(map(words, files), Counter[str]())
    assert found == expected.most_common(10)
    assert run.progress.done == len(files) + len(parts) + 1


if __name__ == "__main__":
    main()
