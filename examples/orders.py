"""An order as a workflow: what was charged is paid back when a later step fails, and the customer hears of either."""

import logging
from collections import defaultdict
from queue import SimpleQueue

from heeler import FailedRun, Heeler, Retry, TaskStatus, Workflow

logging.getLogger("heeler").setLevel(logging.CRITICAL)  # the failure below is meant: no traceback of it
app = Heeler("memory://")
stock = {"lamp": 1, "chair": 5}
account: defaultdict[str, int] = defaultdict(int)  # what each customer has paid
told: SimpleQueue[str] = SimpleQueue()


@app.task(retry=Retry(max_attempts=3, delay=0.01))
def charge(customer: str, amount: int) -> str:
    account[customer] += amount
    return f"receipt of {customer} for {amount}"


@app.task
def reserve(item: str, count: int) -> str:
    if stock[item] < count:
        raise LookupError(f"only {stock[item]} × {item} left")
    stock[item] -= count
    return item


@app.task
def ship(item: str, receipt: str) -> None:
    told.put(f"{item} is on its way ({receipt})")


@app.task
def refund(failed: FailedRun, customer: str, amount: int) -> None:
    account[customer] -= amount
    told.put(f"sorry, {customer}: {failed.error}")


def main() -> None:
    with app, app.worker():
        for customer, item, count, status in (("Ada", "chair", 2, "SUCCESSFUL"), ("Bob", "lamp", 3, "FAILED")):
            order = Workflow(f"order of {customer}")
            receipt = order.add(charge.s(customer, 40 * count))
            reserved = order.add(reserve.s(item, count), after=[receipt])
            order.add(ship.s(reserved, receipt))
            run = order.catch(refund.s(customer, 40 * count)).enqueue()
            run.join(timeout=10)
            print(f"{run.name}: {run.status}; {told.get(timeout=10)}")
            assert run.status is TaskStatus(status)
        assert account == {"Ada": 80, "Bob": 0}, "what Bob had paid was paid back"
        assert stock == {"lamp": 1, "chair": 3}


if __name__ == "__main__":
    main()
