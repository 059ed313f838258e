"""A job that fails for a while is tried again; one that fails for good is kept, and put back once the cause is gone."""

import logging

from heeler import Heeler, Reject, Retry, TaskFailed

app = Heeler("memory://")
shop = {"open": False, "calls": 0}
logging.getLogger("heeler").setLevel(logging.CRITICAL)  # the failures below are meant: no tracebacks of them


@app.task(retry=Retry(max_attempts=3, delay=0.05, on=ConnectionError))
def order(item: str) -> str:
    if not item:
        raise Reject("nothing was ordered")
    shop["calls"] += 1
    if not shop["open"]:
        raise ConnectionError("the shop is closed")
    return f"one {item}"


def main() -> None:
    with app, app.worker():
        result = order.enqueue("cat bed")
        cause = None
        try:
            result.get(timeout=10)
        except TaskFailed as failed:
            print(failed)
            cause = failed.__cause__
        assert isinstance(cause, ConnectionError)
        assert shop["calls"] == result.attempts == 3
        assert [error.message for error in result.errors] == ["the shop is closed"] * 3

        dead = app.dead_letters.list()
        assert [letter.id for letter in dead] == [result.id]
        print("dead letter:", dead[0].reason)

        shop["open"] = True
        assert app.dead_letters.redrive([result.id]) == 1
        result = app.get_result(result.id)
        assert result.get(timeout=10) == "one cat bed"
        print("after the redrive:", result.return_value)

        rejected = order.enqueue("")
        rejected.join(timeout=10)
        assert rejected.attempts == 1, "a rejected job is not tried again"
        print("rejected:", *(error.message for error in rejected.errors))


if __name__ == "__main__":
    main()
