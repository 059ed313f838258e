"""A job tells how far it is and saves a value on its way; it fails once, and its second run ends it."""

import tempfile
import time
from pathlib import Path

from heeler import Heeler, Retry, TaskContext

app = Heeler("memory://")


@app.task(takes_context=True, retry=Retry(max_attempts=2, delay=0.1), reports="all")
def copy_lines(context: TaskContext, source: str, target: str) -> int:
    """Copies a file line by line and breaks down once in the middle."""
    lines = Path(source).read_text("utf-8").splitlines()
    start = len(Path(target).read_text("utf-8").splitlines()) if context.attempt > 1 else 0
    with open(target, "a", encoding="utf-8") as out:
        for number in range(start, len(lines)):
            if context.attempt == 1 and number == len(lines) // 2:
                raise ConnectionError("the disk went away for a moment")
            print(lines[number], file=out)
            context.save(number + 1)
            context.progress((number + 1) / len(lines), f"line {number + 1} of {len(lines)}")
            time.sleep(0.01)
    return len(lines)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, app, app.worker():
        source, target = Path(folder, "source.txt"), Path(folder, "target.txt")
        source.write_text("".join(f"line {number}\n" for number in range(40)), "utf-8")
        result = copy_lines.enqueue(str(source), str(target))
        kinds = []
        for report in result.reports(timeout=10):
            kinds.append(report.kind)
            print(f"{report.kind:<10} {report.fraction or 0:>6.0%}  {report.message or ''}")
        assert kinds[0] == "sent", kinds
        assert kinds[-1] == "finished", kinds
        assert "retrying" in kinds, kinds
        assert "progress" in kinds, kinds
        assert result.get(timeout=10) == 40
        assert result.saved == 40
        assert result.attempts == 2
        assert target.read_text("utf-8") == source.read_text("utf-8")


if __name__ == "__main__":
    main()
