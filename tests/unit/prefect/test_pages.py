"""Pages of a list are read until one is not full."""

import asyncio

import pytest

from rollway.prefect.pages import PAGE, all_pages


@pytest.mark.parametrize(
    ("length", "offsets"),
    [(0, [0]), (1, [0]), (PAGE - 1, [0]), (PAGE, [0, PAGE]), (2 * PAGE + 1, [0, PAGE, 2 * PAGE])],
)
def test_all_pages_are_read_and_no_other(length: int, offsets: list[int]) -> None:
    asked = []

    async def read(offset: int) -> list[int]:
        asked.append(offset)
        return list(range(length))[offset : offset + PAGE]

    assert asyncio.run(all_pages(read)) == list(range(length))
    assert asked == offsets
