"""Every test of Prefect's adapter begins with a server that has answered so far, and with no block loaded."""

import pytest

from rollway.prefect import best_effort, blocks


@pytest.fixture(autouse=True)
def answering_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has been lost yet."""
    monkeypatch.setattr(best_effort, "_lost", set())
    monkeypatch.setattr(blocks, "_loaded", {})
