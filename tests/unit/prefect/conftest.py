"""Every test of Prefect's adapter begins with a server that has answered so far."""

import pytest

from rollway.prefect import best_effort


@pytest.fixture(autouse=True)
def answering_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has been lost yet."""
    monkeypatch.setattr(best_effort, "_lost", set())
