"""What a type checker must accept, and (on lines marked `# error`) reject, of code that makes workflows."""

from typing import assert_type

from heeler import FailedRun, Heeler, TaskResult, Workflow, WorkflowResult, chain, chord, group

app = Heeler("memory://")


@app.task
def fetch(url: str) -> bytes:
    return url.encode()


@app.task
def parse(page: bytes, strict: bool = False) -> dict[str, int]:
    return {"length": len(page)}


@app.task
async def store(found: dict[str, int], table: str) -> int:
    return len(found)


@app.task
def add_up(counts: list[int]) -> float:
    return float(sum(counts))


@app.task
def note(value: object) -> None: ...


@app.task
def refund(failed: FailedRun, customer: str) -> None: ...


def check() -> None:
    steps = chain(fetch.s("u"), parse.s(), store.s("db"))  # each takes what comes before as its first argument
    assert_type(steps.enqueue(), WorkflowResult[int])
    assert_type(steps.enqueue().get(timeout=1), int)
    assert_type((fetch.s("u") | parse.s(strict=True)).enqueue().get(), dict[str, int])
    assert_type((fetch.s("u") | parse.s() | store.s("db")).enqueue().get(), int)
    assert_type((fetch.s("u") | fetch.si("v")).enqueue().get(), bytes)
    assert_type(group(fetch.s(url) for url in "abc").enqueue().get(), list[bytes])
    assert_type(group(fetch.s("a"), fetch.s("b")).enqueue().get(), list[bytes])
    assert_type(chord(group(store.s({}, "t") for _ in "ab"), add_up.s()).enqueue().get(), float)
    assert_type(chord([store.s({}, "t")], add_up.s()).enqueue().get(), float)
    assert_type((group(store.s({}, "t") for _ in "ab") | add_up.s()).enqueue().get(), float)
    assert_type(fetch.s("u").then(note.s()).catch(refund.s("Ada")).enqueue().get(), bytes)
    assert_type(steps.then(note.s()).catch(refund.s("Ada")).using(priority=5).enqueue().get(), int)
    assert_type(steps.enqueue().status.is_finished, bool)
    assert_type(fetch.s("u").enqueue(), TaskResult[bytes])

    flow = Workflow("nightly")
    page = assert_type(flow.add(fetch.s("u")), bytes)  # stands for the result
    found = assert_type(flow.add(parse.s(page)), dict[str, int])
    stored = assert_type(flow.add(store.s(found, "db"), name="stored", after=[page], when="all"), int)
    pages = assert_type(flow.add(group(fetch.s(url) for url in "ab")), list[bytes])
    flow.add(note.s(pages), failure="continue")
    flow.add(add_up.s([stored]))
    flow.enqueue().cancel()
    chain(flow, note.s()).then(note.s()).enqueue()
    app.schedules.add("nightly", flow, cron="@daily")
    app.schedules.add("steps", steps, every=5)
    assert_type(app.schedule("@daily")(flow), Workflow)

    fetch.s(1)  # error
    parse.s("text", "yes")  # error
    store.s({}, 3)  # error
    store.s({}, "t", "u")  # error
    refund.s(3)  # error
    chain(fetch)  # error
    group(fetch)  # error
    chord(group(fetch.s("u")), note)  # error
    fetch.s("u").then(note)  # error
    flow.add(note)  # error
    flow.add(note.s(1), when="some")  # error
    group(fetch.s("u"), failure="never")  # error
    flow.add(parse.s(found))  # error
    length: str = steps.enqueue().get()  # error
    app.schedules.add("nightly", "flow", cron="@daily")  # error
    del length
