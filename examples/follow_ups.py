"""A job enqueues other jobs through its context: they become real together with its success, and not if it fails."""

import logging

import heeler
from heeler import Heeler, TaskContext

app = Heeler("memory://")
text = "the quick brown fox jumps over the lazy dog and the dog sleeps"
counts: dict[str, int] = {}
logging.getLogger("heeler").setLevel(logging.CRITICAL)  # the failure below is meant: no traceback of it


@app.task
def count(word: str) -> int:
    counts[word] = text.split().count(word)
    return counts[word]


@app.task(takes_context=True)
def split(context: TaskContext, line: str, fail: bool = False) -> list[str]:
    """The context is the worker's to give; the caller gives the rest."""
    ids = [context.enqueue(count.s(word)).id for word in sorted(set(line.split()))]
    if fail:
        raise ValueError("the line was not good after all")
    return ids


def main() -> None:
    with app, app.worker():
        failed = split.enqueue(text, fail=True)
        failed.join(timeout=10)
        assert failed.status is heeler.TaskStatus.FAILED
        assert counts == {}, "nothing follows from a failed job"

        ids = split.enqueue(text).get(timeout=10)
        heeler.gather([app.get_result(id) for id in ids], timeout=10)
        print(counts)
        assert counts["the"] == 3
        assert counts["dog"] == 2
        assert sum(counts.values()) == len(text.split())


if __name__ == "__main__":
    main()
