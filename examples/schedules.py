"""Two workers look after all schedules between them: each time starts one job, and nobody leads."""

import queue

from heeler import Heeler, TaskContext

app = Heeler("memory://")
ticks: queue.SimpleQueue[str] = queue.SimpleQueue()


@app.schedule(every=0.2)
@app.task(takes_context=True)
def tick(context: TaskContext) -> None:
    """Its id is made of the schedule's name and the time for which it runs."""
    ticks.put(context.id)


@app.task
def report(number: int) -> str:
    return f"report {number}"


def main() -> None:
    with app, app.worker(), app.worker():
        ids = [ticks.get(timeout=10) for _ in range(6)]
        print("\n".join(ids))
        assert len(set(ids)) == 6, "a time came twice"

        added = app.schedules.add("report-42", report.s(42), cron="0 7 * * mon-fri", timezone="America/New_York")
        print(f"{added.name}: {added.description}, next at {added.next_run}")
        assert all(time.hour == 7 for time in app.schedules.preview("report-42", 5))

        assert app.schedules.trigger("report-42").get(timeout=10) == "report 42"
        known = app.schedules.get("report-42")
        assert known is not None
        assert (known.last_outcome, known.runs) == ("SUCCESSFUL", 1)

        assert app.schedules.pause("report-42").next_run is None
        assert app.schedules.remove("report-42")
        assert [schedule.name for schedule in app.schedules.list()] == [tick.name]


if __name__ == "__main__":
    main()
