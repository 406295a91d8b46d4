"""Lists of the Prefect API, page by page."""

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

PAGE = 200  # the most that the API returns at once

T = TypeVar("T")


async def all_pages(read: Callable[[int], Awaitable[Iterable[T]]]) -> list[T]:
    """Return all pages of a list; `read` returns the page of at most `PAGE` entries that starts at an offset."""
    found: list[T] = []
    while True:
        page = list(await read(len(found)))
        found += page
        if len(page) < PAGE:
            return found
