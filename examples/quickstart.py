"""The shortest whole program: a task, a worker in the same process, and results. Run it: python quickstart.py"""

from heeler import Heeler, gather

app = Heeler("memory://")


@app.task
def add(a: int, b: int) -> int:
    return a + b


def main() -> None:
    with app, app.worker():
        result = add.enqueue(2, 3)
        print("2 + 3 =", result.get(timeout=10))
        assert result.return_value == 5

        squares = add.enqueue_many((n, n) for n in range(10))
        doubled = gather(squares, timeout=10)
        print("doubled:", doubled)
        assert doubled == [2 * n for n in range(10)]


if __name__ == "__main__":
    main()
