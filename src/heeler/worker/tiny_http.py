"""As much of HTTP/1.1 as a probe needs: one GET or HEAD for each connection (RFC 9112)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import msgspec

__all__ = ["Answer", "ask", "serve"]

PATIENCE = 5.0  # seconds for a request to arrive
LARGEST_HEAD = 8192
_PHRASES = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


class Answer(msgspec.Struct, frozen=True):
    """What is sent back."""

    status: int
    body: bytes
    content_type: str = "application/json"


Respond = Callable[[str], Awaitable[Answer]]


def serve(respond: Respond) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """A handler of connections that answers each request with what `respond` gives for its path."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                head = await reader.readuntil(b"\r\n\r\n")
            method, _, rest = head.partition(b"\r\n")[0].decode("latin-1").partition(" ")
            path = rest.partition(" ")[0].partition("?")[0]
            answer = await _answer(method, path, respond)
            writer.write(_head(answer) + (b"" if method == "HEAD" else answer.body))
            await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever it was has gone, or speaks something else
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    return handle


async def _answer(method: str, path: str, respond: Respond) -> Answer:
    if not path.startswith("/"):
        return Answer(400, b"this is no HTTP request\n", "text/plain")
    if method not in ("GET", "HEAD"):
        return Answer(405, b"only GET and HEAD are answered here\n", "text/plain")
    return await respond(path)


def _head(answer: Answer) -> bytes:
    return (
        f"HTTP/1.1 {answer.status} {_PHRASES[answer.status]}\r\nContent-Type: {answer.content_type}\r\n"
        f"Content-Length: {len(answer.body)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    ).encode()


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> Answer:
    """Ask what `serve` serves. Raises OSError or ValueError where the answer is none."""
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        said = await reader.read()
    finally:
        writer.close()
    head, _, body = said.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
    return Answer(int(lines[0].split(" ")[1]), body, fields.get("content-type", ""))
