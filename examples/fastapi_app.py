"""A FastAPI application that enqueues jobs, with a worker in the same process; `uvicorn fastapi_app:web` serves it."""

import asyncio
import time
from typing import Any

from fastapi import FastAPI, HTTPException
from fastapi.testclient import TestClient

from heeler import Heeler, ResultNotFound, TaskStatus
from heeler.integrations.fastapi import lifespan

queue = Heeler("memory://")  # sqlite:///jobs.db or redis:// with workers of their own: lifespan(queue)


@queue.task(name="reports.make")
async def make_report(year: int) -> str:
    await asyncio.sleep(0.05)  # it takes its time
    return f"report of {year}"


web = FastAPI(lifespan=lifespan(queue, worker={"concurrency": 5}))


@web.post("/reports/{year}", status_code=202)
async def order_report(year: int) -> dict[str, str]:
    """Answers as soon as the broker holds the job."""
    result = await make_report.aenqueue(year)
    return {"id": result.id}


@web.get("/reports/{id}")
async def get_report(id: str) -> dict[str, Any]:
    try:
        result = await queue.aget_result(id)
    except ResultNotFound:
        raise HTTPException(404, "no such report") from None
    done = result.status is TaskStatus.SUCCESSFUL
    return {"status": result.status, "report": result.return_value if done else None}


def main() -> None:
    with TestClient(web) as client:  # in the place of a browser
        ordered = client.post("/reports/2030")
        assert ordered.status_code == 202
        path = f"/reports/{ordered.json()['id']}"
        while client.get(path).json()["report"] is None:
            time.sleep(0.01)
        print(client.get(path).json())
        assert client.get(path).json() == {"status": "SUCCESSFUL", "report": "report of 2030"}
        assert client.get("/reports/nobody").status_code == 404


if __name__ == "__main__":
    main()
