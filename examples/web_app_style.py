"""Enqueue from async code, as the handlers of a web application do: nothing here blocks the event loop."""

import asyncio

from heeler import Heeler, TaskStatus

app = Heeler("memory://")


@app.task
async def send_welcome(address: str) -> str:
    await asyncio.sleep(0.05)  # the mail server takes its time
    return f"welcome mail to {address}"


async def post_signup(address: str) -> tuple[int, str]:
    """A handler: it answers as soon as the broker holds the job."""
    result = await send_welcome.aenqueue(address)
    return 202, result.id


async def get_signup(id: str) -> tuple[int, str]:
    """Another handler, perhaps in another process: it knows nothing but the id."""
    result = await app.aget_result(id)
    if result.status is TaskStatus.SUCCESSFUL:
        return 200, result.return_value
    return 202, result.status


async def main() -> None:
    async with app, app.worker():
        addresses = [f"user-{number}@example.org" for number in range(100)]
        answers = await asyncio.gather(*(post_signup(address) for address in addresses))
        assert {status for status, _ in answers} == {202}

        _, id = answers[-1]
        result = await app.aget_result(id)
        await result.aget(timeout=10)
        status, body = await get_signup(id)
        print(status, body)
        assert (status, body) == (200, "welcome mail to user-99@example.org")


if __name__ == "__main__":
    asyncio.run(main())
