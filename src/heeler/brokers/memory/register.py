"""All jobs of which anything is known, in the order in which they were published."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["Register"]

_BITS = 10  # 1024 numbers in one page


class Register:
    """Ids by number, in pages, so that reading can begin anywhere and what is forgotten takes no room.

    Numbers are entered in growing order.
    """

    __slots__ = ("_pages",)

    def __init__(self) -> None:
        self._pages: dict[int, dict[int, str]] = {}

    def enter(self, number: int, id: str) -> None:
        page = self._pages.get(number >> _BITS)
        if page is None:
            page = self._pages[number >> _BITS] = {}
        page[number] = id

    def strike(self, number: int) -> None:
        """Nothing is known of this job any more. Harmless twice."""
        page = self._pages.get(number >> _BITS)
        if page is not None and page.pop(number, None) is not None and not page:
            del self._pages[number >> _BITS]

    def newest(self, before: int | None = None) -> Iterator[tuple[int, str]]:
        """Numbers and ids from the last one down to the first; only those below `before`. Not while it is changed."""
        for index in reversed(self._pages):
            if before is None or index <= before >> _BITS:
                for number in reversed(self._pages[index]):
                    if before is None or number < before:
                        yield number, self._pages[index][number]
