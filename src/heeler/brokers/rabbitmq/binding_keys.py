"""Whether a binding key lets a routing key through: what the server decides, decided here where it cannot be asked."""

from __future__ import annotations

import functools
import re

__all__ = ["lets_through"]


def lets_through(exchange_type: str, binding_key: str, routing_key: str) -> bool:
    """For a direct or topic exchange; the patterns of topics are those of AMQP 0-9-1, 3.1.3.3."""
    if exchange_type == "topic":
        return _pattern(binding_key).fullmatch(routing_key) is not None
    return binding_key == routing_key


@functools.lru_cache(1000)
def _pattern(binding_key: str) -> re.Pattern[str]:
    """`*` is one word, `#` any number of words, none included; words stand between dots."""
    words = binding_key.split(".")
    parts: list[str] = []
    needs_dot = False  # before the next word
    for place, word in enumerate(words):
        dot = r"\." if needs_dot else ""
        if word != "#":
            parts.append(dot + (r"[^.]*" if word == "*" else re.escape(word)))
            needs_dot = True
        elif needs_dot:
            parts.append(r"(?:\.[^.]*)*")
        elif place == len(words) - 1:
            parts.append(r".*")
        else:
            parts.append(r"(?:[^.]*\.)*")
    return re.compile("".join(parts), re.DOTALL)
